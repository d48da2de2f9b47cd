"""A gRPC server and a client of it, with the real `grpcio`: every kind of call, trailers, deadlines and health.

    grpc_peer.py serve PORT
    grpc_peer.py call ADDRESS AUTHORITY

The server prints `ready`. The client makes each call once, prints one line for each, and ends with 1 at the first that is
not as it should be. Messages are plain bytes, so that nothing has to be generated.
"""

import sys
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

SERVICE = "bench.Echo"
LIMIT = 30


def say(request, context):
    context.send_initial_metadata((("x-early", "yes"),))
    context.set_trailing_metadata((("x-late", str(len(request))),))
    return b"you said " + request


def fail(request, context):
    context.set_trailing_metadata((("x-late", "even so"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not \u00fcber: " + request.decode())


def count(requests, context):
    total = sum(len(request) for request in requests)
    context.set_trailing_metadata((("x-late", str(total)),))
    return str(total).encode()


def repeat(request, context):
    for number in range(5):
        yield b"%d %s" % (number, request)
    context.set_trailing_metadata((("x-late", "5"),))


def chat(requests, context):
    for request in requests:
        yield b"re: " + request


def never(_, context):
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(LIMIT)
    return b"too late"


def serve(port):
    limits = (("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20))
    options = (("grpc.so_reuseport", 0),) + limits
    server = grpc.server(futures.ThreadPoolExecutor(8), options=options)
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Never": grpc.unary_unary_rpc_method_handler(never),
        "Count": grpc.stream_unary_rpc_method_handler(count),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    servicer = health.HealthServicer()
    servicer.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port, "the port is taken"
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


def same(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {got!r} instead of {wanted!r}")


def late(call):
    return dict(call.trailing_metadata()).get("x-late")


def unary(channel):
    answer, call = channel.unary_unary(f"/{SERVICE}/Say").with_call(b"hello", timeout=LIMIT)
    same("answer", answer, b"you said hello")
    same("header", dict(call.initial_metadata()).get("x-early"), "yes")
    same("trailer", late(call), "5")
    large = b"x" * (3 << 20)
    same("large answer", channel.unary_unary(f"/{SERVICE}/Say")(large, timeout=LIMIT), b"you said " + large)


def error(channel):
    try:
        channel.unary_unary(f"/{SERVICE}/Fail")(b"no", timeout=LIMIT)
    except grpc.RpcError as raised:
        same("status", raised.code(), grpc.StatusCode.FAILED_PRECONDITION)
        same("details", raised.details(), "not \u00fcber: no")
        same("trailer", late(raised), "even so")
    else:
        sys.exit("a call that fails did not")


def client_streaming(channel):
    parts = (b"x" * 1000 for _ in range(500))
    answer, call = channel.stream_unary(f"/{SERVICE}/Count").with_call(parts, timeout=LIMIT)
    same("answer", answer, b"500000")
    same("trailer", late(call), "500000")


def server_streaming(channel):
    call = channel.unary_stream(f"/{SERVICE}/Repeat")(b"times", timeout=LIMIT)
    same("answers", list(call), [b"%d times" % number for number in range(5)])
    same("trailer", late(call), "5")


def bidirectional(channel):
    """Each message waits for the answer to the one before, so nothing on the way may hold one back."""
    answered = threading.Semaphore(1)

    def messages():
        for number in range(20):
            if not answered.acquire(timeout=LIMIT):
                return
            yield b"%d" % number

    got = []
    for answer in channel.stream_stream(f"/{SERVICE}/Chat")(messages(), timeout=LIMIT):
        got.append(answer)
        answered.release()
    same("answers", got, [b"re: %d" % number for number in range(20)])


def deadline(channel):
    try:
        channel.unary_unary(f"/{SERVICE}/Never")(b"", timeout=0.3)
    except grpc.RpcError as raised:
        same("status", raised.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    else:
        sys.exit("a call past its deadline was answered")


def healthy(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT)
        same("health", answer.status, health_pb2.HealthCheckResponse.SERVING)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=LIMIT)
    same("watched health", next(watch).status, health_pb2.HealthCheckResponse.SERVING)
    watch.cancel()


def call(address, authority):
    options = (("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0))
    limits = (("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20))
    with grpc.insecure_channel(address, options=options + limits) as channel:
        for what in (unary, error, client_streaming, server_streaming, bidirectional, deadline, healthy):
            what(channel)
            print(f"{what.__name__}: good", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        call(sys.argv[2], sys.argv[3])
