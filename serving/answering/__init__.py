"""What is answered to a question, whichever door it came through: HTTP or gRPC."""
