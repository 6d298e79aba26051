"""The extended protocol by hand, for what no driver does: flush before sync, and row limits."""
import socket
import struct

from psycopg.conninfo import conninfo_to_dict


class Wire:
    def __init__(self, dsn, settings=""):
        options = conninfo_to_dict(dsn)
        self.socket = socket.create_connection((options["host"], int(options["port"])), timeout=60)
        self.stream = self.socket.makefile("rb")
        words = f"user\0{options['user']}\0database\0{options['dbname']}\0"
        words = f"{words}options\0{settings}\0\0".encode()
        self.socket.sendall(struct.pack("!II", len(words) + 8, 196608) + words)
        self.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack("!I", len(body) + 4) + body)

    def parse_bind_execute(self, sql, limit=0):
        self.send(b"P", b"\0" + sql.encode() + b"\0\0\0")
        self.send(b"B", b"\0\0" + struct.pack("!HHH", 0, 0, 0))
        self.send(b"E", b"\0" + struct.pack("!I", limit))

    def flush(self):
        self.send(b"H")

    def sync(self):
        self.send(b"S")

    def message(self):
        kind, length = struct.unpack("!cI", self.stream.read(5))
        return kind, self.stream.read(length - 4)

    def answer(self):
        """The next first column of a row, or SQLSTATE of an error; None when the server is ready."""
        while True:
            kind, body = self.message()
            if kind == b"Z":
                return None
            if kind == b"D":
                length = struct.unpack("!i", body[2:6])[0]
                return body[6:6 + length].decode()
            if kind == b"E":
                fields = dict((f[:1], f[1:]) for f in body.split(b"\0") if f)
                return fields[b"C"].decode()

    def rows(self, count):
        return [self.answer() for _ in range(count)]

    def until_ready(self):
        return list(iter(self.answer, None))
