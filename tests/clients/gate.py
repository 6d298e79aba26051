"""A relay to PostgreSQL that stops a server between the redemption of a code and its completion."""
import contextlib
import os
import re
import socket
import socketserver
import threading

COMPLETION = re.compile(rb"code_complete|code_mark_consumed|code_record_access_token")


class Gate(socketserver.ThreadingTCPServer):
    """Holds back what completes a redemption until it is opened. `reached` is set when there is something to hold."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Relay)
        self.reached, self.opened = threading.Event(), threading.Event()

    def hold(self, data):
        if COMPLETION.search(data):
            self.reached.set()
            self.opened.wait()


class Relay(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"]))) as postgres:
            back = threading.Thread(target=pump, args=(postgres, self.request), daemon=True)
            back.start()
            pump(self.request, postgres, self.server.hold)
            back.join()


def pump(source, sink, look=lambda data: None):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            look(data)
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate():
    with Gate() as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        try:
            yield relay
        finally:
            relay.opened.set()
            relay.shutdown()
