"""Egress of a wall whose network stack is its own kernel's, as forward.js does it, for an image without Node: listens on
127.0.0.1:3128 inside and connects each connection to the socket of the host's proxy, which decides on everything. Its
first connection says that it listens."""

import selectors
import socket
import sys

PROXY = ("127.0.0.1", 3128)
# Above the limit of the proxy.
CONNECTIONS_MAX = 128
PIECE_BYTES = 65_536
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Connection:
    """Two sockets, with one bounded buffer for each direction: back-pressure from a slow reader to its writer."""

    def __init__(self, inner, outer):
        self.ends = (inner, outer)
        # For each end: bytes to write, and whether the other end has closed its sending side.
        self.pending = [b"", b""]
        self.over = [False, False]
        self.shut = [False, False]

    def wanted(self, end):
        reads = READ if not self.over[1 - end] and not self.pending[1 - end] else 0
        return reads | (WRITE if self.pending[end] else 0)

    def move(self, end, events):
        if events & READ and not self.pending[1 - end] and not self.over[1 - end]:
            piece = self.ends[end].recv(PIECE_BYTES)
            self.pending[1 - end] = piece
            self.over[1 - end] = not piece
        if events & WRITE and self.pending[end]:
            self.pending[end] = self.pending[end][self.ends[end].send(self.pending[end]) :]
        for side in (0, 1):
            if self.over[side] and not self.pending[side] and not self.shut[side]:
                self.shut[side] = True
                self.ends[side].shutdown(socket.SHUT_WR)

    def is_over(self):
        return all(self.shut)


class Forwarder:
    def __init__(self, egress):
        self.egress = egress
        self.selector = selectors.DefaultSelector()
        self.count = 0
        self.server = socket.create_server(PROXY, backlog=CONNECTIONS_MAX)
        self.server.setblocking(False)
        self.selector.register(self.server, READ, None)

    def run(self):
        self.connect().close()
        while True:
            for key, events in self.selector.select():
                if key.data is None:
                    self.accept()
                else:
                    self.move(*key.data, events)

    def connect(self):
        outer = socket.socket(socket.AF_UNIX)
        outer.connect(self.egress)
        return outer

    def accept(self):
        inner, _ = self.server.accept()
        try:
            outer = self.connect()
        except OSError:
            inner.close()
            return
        connection = Connection(inner, outer)
        for end, one in enumerate(connection.ends):
            one.setblocking(False)
            self.selector.register(one, READ, (connection, end))
        self.count += 1
        self.settle_server()

    def move(self, connection, end, events):
        # An event of the same poll may have closed it.
        if connection.ends[end].fileno() < 0:
            return
        try:
            connection.move(end, events)
        except BlockingIOError:
            pass
        except OSError:
            return self.close(connection)
        if connection.is_over():
            return self.close(connection)
        for side in (0, 1):
            self.settle(connection, side)

    def settle(self, connection, side):
        """Registers the wanted events; unregisters for none, since a selector refuses an empty set."""
        one, wanted = connection.ends[side], connection.wanted(side)
        is_known = one in self.selector.get_map()
        if wanted and is_known:
            self.selector.modify(one, wanted, (connection, side))
        elif wanted:
            self.selector.register(one, wanted, (connection, side))
        elif is_known:
            self.selector.unregister(one)

    def close(self, connection):
        for one in connection.ends:
            if one in self.selector.get_map():
                self.selector.unregister(one)
            one.close()
        self.count -= 1
        self.settle_server()

    def settle_server(self):
        """Stops accepting at the connection limit; others wait in the backlog."""
        is_known = self.server in self.selector.get_map()
        if self.count < CONNECTIONS_MAX and not is_known:
            self.selector.register(self.server, READ, None)
        elif self.count >= CONNECTIONS_MAX and is_known:
            self.selector.unregister(self.server)


if __name__ == "__main__":
    Forwarder(sys.argv[1]).run()
