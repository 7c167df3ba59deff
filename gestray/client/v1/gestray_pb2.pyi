from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ModelList(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[ModelAbout]
    def __init__(self, models: _Optional[_Iterable[_Union[ModelAbout, _Mapping]]] = ...) -> None: ...

class ModelAbout(_message.Message):
    __slots__ = ("name", "kind", "default", "gestures", "speakers", "source")
    class SourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_FIELD_NUMBER: _ClassVar[int]
    GESTURES_FIELD_NUMBER: _ClassVar[int]
    SPEAKERS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    default: bool
    gestures: int
    speakers: _containers.RepeatedScalarFieldContainer[str]
    source: _containers.ScalarMap[str, str]
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., default: _Optional[bool] = ..., gestures: _Optional[int] = ..., speakers: _Optional[_Iterable[str]] = ..., source: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RetrieveRequest(_message.Message):
    __slots__ = ("text", "k", "model")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    text: str
    k: int
    model: str
    def __init__(self, text: _Optional[str] = ..., k: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class RetrieveByMotionRequest(_message.Message):
    __slots__ = ("npz", "k", "model")
    NPZ_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    npz: bytes
    k: int
    model: str
    def __init__(self, npz: _Optional[bytes] = ..., k: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class Gesture(_message.Message):
    __slots__ = ("rank", "score", "id", "speaker", "seconds", "text", "form", "intent")
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    rank: int
    score: float
    id: str
    speaker: str
    seconds: float
    text: str
    form: str
    intent: str
    def __init__(self, rank: _Optional[int] = ..., score: _Optional[float] = ..., id: _Optional[str] = ..., speaker: _Optional[str] = ..., seconds: _Optional[float] = ..., text: _Optional[str] = ..., form: _Optional[str] = ..., intent: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("model", "source", "gestures")
    class SourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    GESTURES_FIELD_NUMBER: _ClassVar[int]
    model: str
    source: _containers.ScalarMap[str, str]
    gestures: _containers.RepeatedCompositeFieldContainer[Gesture]
    def __init__(self, model: _Optional[str] = ..., source: _Optional[_Mapping[str, str]] = ..., gestures: _Optional[_Iterable[_Union[Gesture, _Mapping]]] = ...) -> None: ...

class MotionAnswer(_message.Message):
    __slots__ = ("model", "source", "similar", "texts")
    class SourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SIMILAR_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    source: _containers.ScalarMap[str, str]
    similar: _containers.RepeatedCompositeFieldContainer[Gesture]
    texts: _containers.RepeatedCompositeFieldContainer[Gesture]
    def __init__(self, model: _Optional[str] = ..., source: _Optional[_Mapping[str, str]] = ..., similar: _Optional[_Iterable[_Union[Gesture, _Mapping]]] = ..., texts: _Optional[_Iterable[_Union[Gesture, _Mapping]]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("text", "recording", "speaker", "seed", "temperature", "model")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RECORDING_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    text: str
    recording: Recording
    speaker: str
    seed: int
    temperature: float
    model: str
    def __init__(self, text: _Optional[str] = ..., recording: _Optional[_Union[Recording, _Mapping]] = ..., speaker: _Optional[str] = ..., seed: _Optional[int] = ..., temperature: _Optional[float] = ..., model: _Optional[str] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("audio", "words", "transcript")
    AUDIO_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_FIELD_NUMBER: _ClassVar[int]
    audio: bytes
    words: bytes
    transcript: str
    def __init__(self, audio: _Optional[bytes] = ..., words: _Optional[bytes] = ..., transcript: _Optional[str] = ...) -> None: ...

class Word(_message.Message):
    __slots__ = ("word", "start_s", "end_s")
    WORD_FIELD_NUMBER: _ClassVar[int]
    START_S_FIELD_NUMBER: _ClassVar[int]
    END_S_FIELD_NUMBER: _ClassVar[int]
    word: str
    start_s: float
    end_s: float
    def __init__(self, word: _Optional[str] = ..., start_s: _Optional[float] = ..., end_s: _Optional[float] = ...) -> None: ...

class Motion(_message.Message):
    __slots__ = ("id", "model", "source", "seconds", "frames", "fps", "speaker", "seed", "text", "words", "meaning", "has_audio", "expires_s", "formats", "remark")
    class SourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    HAS_AUDIO_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_S_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    REMARK_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    source: _containers.ScalarMap[str, str]
    seconds: float
    frames: int
    fps: float
    speaker: str
    seed: int
    text: str
    words: _containers.RepeatedCompositeFieldContainer[Word]
    meaning: _containers.RepeatedScalarFieldContainer[float]
    has_audio: bool
    expires_s: float
    formats: _containers.RepeatedScalarFieldContainer[str]
    remark: str
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., source: _Optional[_Mapping[str, str]] = ..., seconds: _Optional[float] = ..., frames: _Optional[int] = ..., fps: _Optional[float] = ..., speaker: _Optional[str] = ..., seed: _Optional[int] = ..., text: _Optional[str] = ..., words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ..., meaning: _Optional[_Iterable[float]] = ..., has_audio: _Optional[bool] = ..., expires_s: _Optional[float] = ..., formats: _Optional[_Iterable[str]] = ..., remark: _Optional[str] = ...) -> None: ...

class ClipFileRequest(_message.Message):
    __slots__ = ("id", "format", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    format: str
    model: str
    def __init__(self, id: _Optional[str] = ..., format: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class MotionFileRequest(_message.Message):
    __slots__ = ("id", "format")
    ID_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    id: str
    format: str
    def __init__(self, id: _Optional[str] = ..., format: _Optional[str] = ...) -> None: ...

class Piece(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class Say(_message.Message):
    __slots__ = ("start", "resume", "sound", "words", "text", "end", "ack")
    START_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    SOUND_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    start: Start
    resume: Resume
    sound: bytes
    words: Words
    text: str
    end: End
    ack: int
    def __init__(self, start: _Optional[_Union[Start, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., sound: _Optional[bytes] = ..., words: _Optional[_Union[Words, _Mapping]] = ..., text: _Optional[str] = ..., end: _Optional[_Union[End, _Mapping]] = ..., ack: _Optional[int] = ...) -> None: ...

class Start(_message.Message):
    __slots__ = ("input", "model", "speaker", "seed", "temperature")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SPEAKER_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    input: str
    model: str
    speaker: str
    seed: int
    temperature: float
    def __init__(self, input: _Optional[str] = ..., model: _Optional[str] = ..., speaker: _Optional[str] = ..., seed: _Optional[int] = ..., temperature: _Optional[float] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("stream", "after", "spoken")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    SPOKEN_FIELD_NUMBER: _ClassVar[int]
    stream: str
    after: int
    spoken: int
    def __init__(self, stream: _Optional[str] = ..., after: _Optional[int] = ..., spoken: _Optional[int] = ...) -> None: ...

class Words(_message.Message):
    __slots__ = ("words",)
    WORDS_FIELD_NUMBER: _ClassVar[int]
    words: _containers.RepeatedCompositeFieldContainer[Word]
    def __init__(self, words: _Optional[_Iterable[_Union[Word, _Mapping]]] = ...) -> None: ...

class End(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Told(_message.Message):
    __slots__ = ("begun", "moved", "spoke", "words", "ended")
    BEGUN_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    SPOKE_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    begun: Begun
    moved: Moved
    spoke: Spoke
    words: Words
    ended: Ended
    def __init__(self, begun: _Optional[_Union[Begun, _Mapping]] = ..., moved: _Optional[_Union[Moved, _Mapping]] = ..., spoke: _Optional[_Union[Spoke, _Mapping]] = ..., words: _Optional[_Union[Words, _Mapping]] = ..., ended: _Optional[_Union[Ended, _Mapping]] = ...) -> None: ...

class Begun(_message.Message):
    __slots__ = ("resumed", "stream", "model", "source", "fps", "delay_s", "window", "samples", "texts", "words")
    class SourceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FPS_FIELD_NUMBER: _ClassVar[int]
    DELAY_S_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    resumed: bool
    stream: str
    model: str
    source: _containers.ScalarMap[str, str]
    fps: float
    delay_s: float
    window: int
    samples: int
    texts: int
    words: int
    def __init__(self, resumed: _Optional[bool] = ..., stream: _Optional[str] = ..., model: _Optional[str] = ..., source: _Optional[_Mapping[str, str]] = ..., fps: _Optional[float] = ..., delay_s: _Optional[float] = ..., window: _Optional[int] = ..., samples: _Optional[int] = ..., texts: _Optional[int] = ..., words: _Optional[int] = ...) -> None: ...

class Moved(_message.Message):
    __slots__ = ("number", "first", "frames", "poses")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    POSES_FIELD_NUMBER: _ClassVar[int]
    number: int
    first: int
    frames: int
    poses: bytes
    def __init__(self, number: _Optional[int] = ..., first: _Optional[int] = ..., frames: _Optional[int] = ..., poses: _Optional[bytes] = ...) -> None: ...

class Spoke(_message.Message):
    __slots__ = ("number", "first", "pcm16")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    PCM16_FIELD_NUMBER: _ClassVar[int]
    number: int
    first: int
    pcm16: bytes
    def __init__(self, number: _Optional[int] = ..., first: _Optional[int] = ..., pcm16: _Optional[bytes] = ...) -> None: ...

class Ended(_message.Message):
    __slots__ = ("chunks", "motion")
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    MOTION_FIELD_NUMBER: _ClassVar[int]
    chunks: int
    motion: Motion
    def __init__(self, chunks: _Optional[int] = ..., motion: _Optional[_Union[Motion, _Mapping]] = ...) -> None: ...
