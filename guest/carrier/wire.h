/*
 * Protocol between a server and the carrier in its guest, version 1, on a separate channel. Server's side: src/walls/guest-streams.ts.
 *
 * A frame is: u32 length of everything after it, u8 kind, payload; numbers are little endian. Streams are 0, the runner's
 * socket to the server, in both directions; 1 and 2, its outputs, to the server only; from 16 up outgoing connections of the guest,
 * in both directions, each number used once.
 *
 * Each side may send WINDOW bytes of a stream without credit (WINDOW_OUT of a connection), and further bytes against credit.
 *
 * A serial line has an additional window, which the server maintains: at most 2,048 bytes beyond those that the guest reported as
 * read, over all frames (src/walls/paced-socket.ts).
 *
 * Both ways
 *   1 data    u32 stream, 1 to DATA_BYTES_MAX bytes
 *   2 end     u32 stream             no more data this way
 *   3 credit  u32 stream, u32 bytes
 *   4 reset   u32 stream             the connection is closed in both directions
 * To the guest
 *   5 listen                         accept connections on 127.0.0.1:3128
 *   6 bye                            `over` has arrived
 *   9 hold                           send nothing after `held`, and accept only `go`: the machine is about to be copied
 *  11 go      u8 (1 in the copy, whose connections are closed)
 * From the guest
 *   7 open    u32 stream             a new connection
 *   8 over                           the runner has exited; all its output was sent before
 *  10 held                           no data is in flight in either direction
 *  12 read    u32 bytes              read from the line since the last report; on a serial line only
 */
#ifndef CARRIER_WIRE_H
#define CARRIER_WIRE_H

enum { DATA = 1, END, CREDIT, RESET, LISTEN, BYE, OPEN, OVER, HOLD, HELD, GO, READ };
enum { HANDLE = 0, STDOUT = 1, STDERR = 2, CONNECTION_FIRST = 16 };
enum {
  HEADER_BYTES = 5,
  DATA_BYTES_MAX = 32768,
  WINDOW = 262144,
  WINDOW_OUT = 65536,
  CREDIT_MAX = 1 << 20,
  CONNECTIONS_MAX = 64,
  EGRESS_PORT = 3128,
};

#endif
