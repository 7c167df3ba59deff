"""Words and sentence patterns of the synthetic corpus, apart from the code that expands them.

A pattern is plain text with three marks: ``(a|b)`` picks one of its
alternatives, ``[a|b]`` picks one and marks it as the keyword that the stroke of
the gesture falls on, and ``{slot}`` takes a word or group of words from
`SLOTS`. An empty alternative drops out of the sentence. Alternatives do not
nest.

Every gesture type of `gestray.corpora.synthetic.vocabulary` has patterns for
training and *other* patterns that only validation and test takes use, so that a
model can be asked whether it learned the meaning or the wording.
"""

from __future__ import annotations

from typing import NamedTuple

SLOTS: dict[str, tuple[str, ...]] = {
    # Singular things, to follow a determiner.
    "thing": [
        "budget",
        "garden",
        "ticket",
        "bicycle",
        "report",
        "kitchen",
        "camera",
        "contract",
        "recipe",
        "bridge",
        "library",
        "engine",
        "piano",
        "suitcase",
        "map",
        "harbor",
        "novel",
        "orchard",
        "schedule",
        "telescope",
        "bakery",
        "carpet",
        "password",
        "sofa",
        "lantern",
        "blanket",
        "printer",
        "museum",
        "festival",
        "trailer",
        "fountain",
        "package",
        "mirror",
        "window",
        "jacket",
        "notebook",
        "painting",
        "staircase",
        "tunnel",
        "village",
    ],  # type: ignore[dict-item]
    # Plural things, with or without a determiner.
    "things": [
        "apples",
        "tickets",
        "letters",
        "lessons",
        "prices",
        "boats",
        "photos",
        "chairs",
        "songs",
        "neighbors",
        "trains",
        "stories",
        "tomatoes",
        "candles",
        "horses",
        "maps",
        "visitors",
        "shoes",
        "bottles",
        "tourists",
        "emails",
        "windows",
        "flowers",
        "computers",
        "farmers",
        "cousins",
        "sandwiches",
        "taxes",
        "rivers",
        "batteries",
    ],  # type: ignore[dict-item]
    "person": [
        "my brother",
        "my sister",
        "the teacher",
        "our neighbor",
        "the doctor",
        "my uncle",
        "the driver",
        "a friend",
        "the manager",
        "my grandmother",
        "the student",
        "the baker",
        "our guide",
        "the captain",
        "my boss",
        "the nurse",
    ],  # type: ignore[dict-item]
    "place": [
        "the station",
        "the market",
        "the harbor",
        "the office",
        "the museum",
        "the village",
        "the airport",
        "the stadium",
        "the river",
        "the school",
        "the hospital",
        "the old mill",
        "the cinema",
        "the bakery",
        "the town hall",
        "the beach",
    ],  # type: ignore[dict-item]
    "doing": [
        "cooking dinner",
        "fixing the roof",
        "learning spanish",
        "painting the fence",
        "driving at night",
        "planting trees",
        "writing letters",
        "walking home",
        "selling the car",
        "playing chess",
        "baking bread",
        "cleaning the garage",
        "climbing hills",
        "reading poems",
        "packing boxes",
        "feeding the birds",
    ],  # type: ignore[dict-item]
    "time": [
        "last week",
        "this morning",
        "on friday",
        "in the summer",
        "after lunch",
        "last year",
        "every winter",
        "on sunday",
        "before the holidays",
        "at night",
        "in april",
        "two days ago",
    ],  # type: ignore[dict-item]
    "event": [
        "the wedding",
        "the meeting",
        "the concert",
        "the exam",
        "the storm",
        "the journey",
        "the party",
        "the match",
        "the interview",
        "the strike",
        "the election",
        "the picnic",
        "the parade",
        "the auction",
    ],  # type: ignore[dict-item]
    "adj": [
        "expensive",
        "quiet",
        "boring",
        "lovely",
        "strange",
        "noisy",
        "famous",
        "crowded",
        "useful",
        "fresh",
        "simple",
        "dusty",
        "modern",
        "gentle",
        "honest",
        "cold",
    ],  # type: ignore[dict-item]
}


class Patterns(NamedTuple):
    """Sentence patterns of one gesture type and what each of them means.

    `topic` is a sentence about the intent with ``{}`` for the topic of the
    utterance; `unseen` patterns never occur in training takes.
    """

    topic: str
    train: tuple[str, ...]
    unseen: tuple[str, ...]


PATTERNS: dict[str, Patterns] = {
    "shrug": Patterns(
        "does not know what to say about {}",
        (
            "(well|honestly|) i [don't know|have no idea] what happened to the {thing}",
            "nobody [has a clue|knows] where the {things} went {time}",
            "[maybe|perhaps] {person} will come to {event} with us",
            "it is [hard to say|not clear] if the {thing} was {adj}",
            "i am [not sure|unsure] about {doing} {time}",
            "who [knows|can tell] why {person} left {place} {time}",
        ),
        (
            "your [guess is as good as mine|guess] when it comes to the {thing}",
            "[beats me|search me] how the {things} got to {place}",
            "whether {event} was {adj} is [anyone's guess|a mystery]",
        ),
    ),
    "point_to_self": Patterns(
        "speaks of their own part in {}",
        (
            "(and|so) [i myself|i personally] enjoy {doing} {time}",
            "if you ask [me|me personally] the {thing} was {adj}",
            "that {adj} {thing} is [mine|my own] since {event}",
            "for [myself|me] {event} was rather {adj}",
            "[my own|my very own] {things} came from {place}",
            "they chose [me|myself] to talk about the {thing}",
        ),
        (
            "the one who broke the {thing} {time} was [yours truly|me]",
            "[speaking for myself|in my case] the {things} were {adj}",
            "nobody but [me|myself] cares for {doing} around here",
        ),
    ),
    "point_to_listener": Patterns(
        "turns to the listener about {}",
        (
            "(so|now) what do [you|you guys] think about the {thing}",
            "have [you|any of you] ever tried {doing} {time}",
            "this {adj} {thing} would be good for [you|you all]",
            "[you|all of you] told {person} about {event}",
            "i bought these {things} for [you|you folks] {time}",
            "as [you|you people] know {place} is very {adj}",
        ),
        (
            "the {things} at {place} are [all yours|yours]",
            "let us hear from [the audience|our listeners] about {doing}",
            "may i ask [everyone listening|my listeners] to remember {event}",
        ),
    ),
    "count_fingers": Patterns(
        "counts several points about {}",
        (
            "there are [three|four] reasons for {doing} {time}",
            "[first|firstly] we fix the {thing} and then the {things}",
            "we need [two|three] things the {thing} and some {things}",
            "[one|number one] the {thing} number two {person}",
            "let me count {person} the {thing} and [the {things}]",
            "i visited {place} [two times|three times] {time}",
        ),
        (
            "a [couple|handful] of points about the {thing} come to mind",
            "to [enumerate|itemize] them the {things} the {thing} and {person}",
            "{event} has [several parts|many parts] and each is {adj}",
        ),
    ),
    "list_steps": Patterns(
        "goes through {} step by step",
        (
            "you do it [step by step|one by one] when {doing}",
            "we packed the {things} [one after another|one after the other] {time}",
            "{person} checked the {things} [in order|in a row]",
            "(and|) the {things} came [piece by piece|bit by bit] to {place}",
            "{event} was planned [stage by stage|phase by phase] at {place}",
            "(so|) [each and every|every single] {thing} was {adj}",
        ),
        (
            "{doing} goes through a [sequence|series] of {adj} stages",
            "we took the {things} [in turn|individually] {time}",
            "{person} went [item by item|line by line] through the {thing}",
        ),
    ),
    "wave_off": Patterns(
        "rejects what is said about {}",
        (
            "(no|oh no) i would [never|not ever] go {doing} {time}",
            "there is [no way|nothing] {person} can do about {event}",
            "{person} does [not|not really] like the {thing} at all",
            "[none|nobody] of the {things} from {place} was {adj}",
            "that is [wrong|not true] the {thing} was {adj}",
            "[absolutely not|certainly not] the {things} stay at {place}",
        ),
        (
            "you can [forget|rule out] {doing} {time}",
            "{person} would [refuse|decline] such a {adj} {thing}",
            "the {adj} story about {event} is [nonsense|rubbish]",
        ),
    ),
    "thumb_up": Patterns(
        "approves of {}",
        (
            "(yes|oh yes) {event} was [great|really great] {time}",
            "{person} did a [good job|great job] with the {thing}",
            "i [agree|totally agree] that {doing} is {adj}",
            "the {things} from {place} are [excellent|perfect]",
            "[yes|yes indeed] we should try {doing} {time}",
            "the {adj} {thing} is [fine|just fine] with {person}",
        ),
        (
            "{person} gave {event} [full marks|top marks] {time}",
            "i am [all for|in favor of] {doing} at {place}",
            "[well done|bravo] to {person} for the {adj} {thing}",
        ),
    ),
    "wide_arms": Patterns(
        "shows how big {} is",
        (
            "{person} bought a [huge|really big|very large] {thing} {time}",
            "the {thing} at {place} is [enormous|gigantic|massive]",
            "we saw a [wide|very wide] {thing} full of {things}",
            "(well|) {event} was a [big|really big] one for {person}",
            "the [whole|entire] {thing} was covered with {things}",
            "there was a [vast|giant] {adj} {thing} behind {place}",
        ),
        (
            "the {thing} would [fill the room|take up the room] completely",
            "you would not believe the [sheer size|dimensions] of that {thing}",
            "an [oversized|immense] {adj} {thing} blocked {place}",
        ),
    ),
    "tall": Patterns(
        "shows how tall {} is",
        (
            "a [tall|very tall] {thing} stood at {place} {time}",
            "the {things} were stacked [high|so high] at {place}",
            "{person} built a [towering|very high] {adj} {thing}",
            "(and|) the wall of {things} was [this high|that high]",
            "the pile of {things} reached [the ceiling|the roof] {time}",
        ),
        (
            "the {adj} {thing} [soared|loomed] over {place}",
            "you had to [look up|crane your neck] at the {things}",
        ),
    ),
    "pinch_small": Patterns(
        "shows how small {} is",
        (
            "(it is|that is) just a [small|very small|tiny] {adj} {thing}",
            "{person} found a [tiny|little] {thing} near {place}",
            "we only need a [little|tiny bit] of the {things}",
            "the {things} were [minute|really small] and {adj}",
            "there is a [narrow|very thin] gap between the {things}",
            "{doing} costs [a little|just a bit] more {time}",
        ),
        (
            "only a [sliver|crumb] of the {thing} was left {time}",
            "the {thing} would [fit in a pocket|fit in a matchbox]",
            "{person} had a [microscopic|miniature] {thing} at {place}",
        ),
    ),
    "rise": Patterns(
        "shows {} rising",
        (
            "the price of the {things} [went up|keeps rising] {time}",
            "the number of {things} [is growing|grew] every year",
            "{person} wants to [raise|increase] the {thing} again",
            "(so|) the crowd at {place} [got bigger|kept growing] {time}",
            "since {event} the noise at {place} has [increased|gone up]",
            "interest in {doing} is [on the rise|climbing] {time}",
        ),
        (
            "demand for {things} [skyrocketed|surged] {time}",
            "the mood at {place} began to [lift|soar] after {event}",
            "{doing} has become [more and more|ever more] {adj}",
        ),
    ),
    "fall": Patterns(
        "shows {} falling",
        (
            "the price of the {things} [went down|fell|dropped] {time}",
            "fewer {things} came and sales [declined|sank] {time}",
            "(then|) the {thing} [fell down|sank] near {place}",
            "{person} had to [lower|reduce] the {thing} {time}",
            "since {event} interest in {doing} is [going down|falling]",
            "the water by {place} [dropped|sank] after {event}",
        ),
        (
            "the value of the {adj} {thing} [plunged|collapsed] {time}",
            "support for {doing} [dwindled|faded away] {time}",
            "the number of {things} [hit the floor|tumbled] after {event}",
        ),
    ),
    "palm_out": Patterns(
        "calls a halt to {}",
        (
            "(please|) [stop|wait] before you move the {thing}",
            "{person} told them to [stop|stop right there] at {place}",
            "[hold on|wait a minute] we forgot the {things} again",
            "(now|) we must [stop|put an end to] {doing} {time}",
            "[enough|that is enough] about {event} and the {things}",
            "{person} [blocked|stopped] the {things} near {place}",
        ),
        (
            "let us [pause|take a break] from {doing} for now",
            "{person} will [not let anyone pass|hold everyone back] at {place}",
            "[no further|not another step] toward the {adj} {thing}",
        ),
    ),
    "point_left": Patterns(
        "points to the left, where {} is",
        (
            "{person} lives [over there on the left|on the left] near {place}",
            "the {thing} is [to the left|on the left side] of {place}",
            "turn [left|to the left] and you see the {things}",
            "(and|) {place} is [down there on the left|on our left]",
            "the {things} stood [on the left hand side|left] of {person}",
        ),
        (
            "the {adj} {thing} lies [left of us|leftward] behind {place}",
            "take the [left exit|left fork] to reach {place}",
        ),
    ),
    "point_right": Patterns(
        "points to the right, where {} is",
        (
            "{person} lives [over there on the right|on the right] near {place}",
            "the {thing} is [to the right|on the right side] of {place}",
            "turn [right|to the right] and you see the {things}",
            "(and|) {place} is [down there on the right|on our right]",
            "the {things} stood [on the right hand side|right] of {person}",
        ),
        (
            "the {adj} {thing} lies [right of us|rightward] behind {place}",
            "take the [right exit|right fork] to reach {place}",
        ),
    ),
    "circle": Patterns(
        "shows {} going round again and again",
        (
            "{doing} goes [on and on|round and round] {time}",
            "the {thing} keeps [turning|spinning] at {place}",
            "we repeat it [again and again|over and over] with the {things}",
            "it is a [cycle|circle] from {event} to {event}",
            "(so|) the {things} [come round|go round] every year",
            "the wheel of the {thing} [rotates|turns] by itself",
        ),
        (
            "the {adj} {thing} is an [endless loop|eternal loop] for {person}",
            "{doing} becomes a [daily routine|never ending carousel]",
            "the same {things} [recur|return] year after year",
        ),
    ),
    "pinch_point": Patterns(
        "marks the exact point of {}",
        (
            "the {thing} must be [exactly|precisely] in the middle",
            "{person} came at [exactly|precisely] nine to {place}",
            "(and|) this [detail|particular point] of the {thing} matters",
            "[specifically|in particular] the {things} were {adj}",
            "you need the [exact|precise] size of the {thing}",
            "{doing} takes [careful|very accurate] work {time}",
        ),
        (
            "{person} hit the {thing} [spot on|to the millimeter]",
            "the [fine print|subtle nuance] of the {thing} is {adj}",
            "be [meticulous|rigorous] with the {things} {time}",
        ),
    ),
    "fist_down": Patterns(
        "stresses how much {} matters",
        (
            "it is [so|really] important to keep the {thing}",
            "{person} [must|has to] finish the {thing} {time}",
            "we were [very|extremely] angry about {event}",
            "(and|) i [really|truly] mean it the {things} are {adj}",
            "{doing} takes [strong|enormous] effort {time}",
            "we [fought|worked hard] for the {thing} at {place}",
        ),
        (
            "{person} is [dead serious|determined] about {doing}",
            "at all costs we [insist on|demand] the {adj} {thing}",
            "the {things} need [sheer willpower|iron discipline] {time}",
        ),
    ),
    "chop": Patterns(
        "makes the point firmly about {}",
        (
            "the [main point|key point] is that the {thing} was {adj}",
            "(look|) it is [clearly|obviously] about the {things}",
            "[the fact is|the truth is] {person} likes {doing}",
            "we [definitely|certainly] need a {adj} {thing} {time}",
            "{event} was [by far|without doubt] the best {time}",
        ),
        (
            "[make no mistake|mark my words] the {thing} is {adj}",
            "the [bottom line|crux] of {event} is the {things}",
        ),
    ),
    "hand_to_chin": Patterns(
        "thinks about {}",
        (
            "(hmm|well) [let me think|let me see] about the {thing}",
            "i was [wondering|thinking] about {doing} {time}",
            "{person} [considers|thinks about] the {things} a lot",
            "i had to [think|think hard] about {event} {time}",
            "it makes me [wonder|reflect] why the {thing} is {adj}",
        ),
        (
            "{person} would [ponder|mull over] the {adj} {thing} for hours",
            "[on reflection|come to think of it] {event} was {adj}",
        ),
    ),
    "hand_to_temple": Patterns(
        "recalls or works out {}",
        (
            "(now|) i [remember|recall] the {thing} at {place}",
            "{person} [forgot|could not remember] the {things} {time}",
            "you have to [use your head|be smart] when {doing}",
            "i [imagined|pictured] {event} as something {adj}",
            "{person} had a [clever|brilliant] idea for the {thing}",
        ),
        (
            "the {thing} from {place} is [stuck in my mind|etched in my memory]",
            "{person} is the [brains|genius] behind {event}",
        ),
    ),
    "two_sides": Patterns(
        "sets two sides of {} against each other",
        (
            "[on the one hand|on one side] the {thing} is {adj} but costly",
            "it is [either|a choice between] the {thing} or {doing}",
            "{doing} is {adj} [but on the other hand|while] {doing} is not",
            "we [compare|weigh] the {thing} against the {things}",
            "the {things} are [different from|unlike] those at {place}",
            "there are [two sides|both sides] to {event} you see",
        ),
        (
            "[versus|as opposed to] {doing} the {thing} is {adj}",
            "the {thing} and the {things} are [poles apart|opposites]",
            "{person} must [balance|trade off] {doing} and {event}",
        ),
    ),
}

NEUTRAL = Patterns(
    "keeps the rhythm while talking about {}",
    (
        "{person} went to {place} {time} with some {things}",
        "(and then|so) we talked about {doing} at {place}",
        "the {thing} near {place} was {adj} {time}",
        "{time} {person} brought the {things} to {event}",
        "we like {doing} and {person} likes {doing}",
        "{event} took place near {place} {time}",
        "the {things} came from {place} with {person}",
        "{person} told the story of {event} {time}",
        "(then|) we sat at {place} and ate some {things}",
        "they sell {adj} {things} near {place} {time}",
        "{person} was {doing} while we watched the {things}",
        "the {thing} belongs to {person} from {place}",
    ),
    (
        "after {event} the {things} were brought to {place}",
        "{person} met a {adj} visitor by the {thing}",
        "some {things} were lying next to the {adj} {thing}",
    ),
)
