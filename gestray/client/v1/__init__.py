"""The API over gRPC: `gestray.proto`, and what is generated from it.

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. \
        gestray/client/v1/gestray.proto
"""
