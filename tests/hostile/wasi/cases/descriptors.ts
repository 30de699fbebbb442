import { attack, counted, differs, put, told, type WasiCall } from '../calls.ts'
import type { WasiCase } from '../case.ts'

const some = [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 64, 1023, -1, 0x7fff_ffff]
const beyond = some.filter((fd) => fd < 0 || fd > 3)
const vector = [...put(0, 4096), ...put(4, 64)]

export const descriptors: readonly WasiCase[] = [
  counting(
    'prestat',
    'a preopened folder is where all escapes begin',
    ['fd_prestat_get', 'fd_prestat_dir_name'],
    (invoke) =>
      Array.from({ length: 128 }, (_none, fd) => [
        ...counted(invoke('fd_prestat_get', fd, 64)),
        ...counted(invoke('fd_prestat_dir_name', fd, 64, 256)),
      ]).flat(),
  ),
  counting(
    'renumber',
    'a descriptor moved onto another takes its rights',
    ['fd_renumber', 'fd_write'],
    (invoke) => [
      ...vector,
      ...some.flatMap((from) => some.flatMap((to) => counted(invoke('fd_renumber', from, to)))),
      ...beyond.flatMap((fd) => counted(invoke('fd_write', fd, 0, 1, 32))),
    ],
  ),
  counting(
    'close and reuse',
    'what is closed may be given to the next, with the rights of the old',
    ['fd_close', 'fd_write', 'fd_read', 'fd_pwrite', 'path_open'],
    (invoke) => [
      ...vector,
      ...some.flatMap((fd) => [...invoke('fd_close', fd), 0x1a]),
      ...some.flatMap((fd) => counted(invoke('path_open', fd, 0, 0, 1, 9, -1n, -1n, 0, 64))),
      ...beyond.flatMap((fd) => [
        ...counted(invoke('fd_write', fd, 0, 1, 32)),
        ...counted(invoke('fd_read', fd, 0, 1, 32)),
        ...counted(invoke('fd_pwrite', fd, 0, 1, 0n, 32)),
      ]),
    ],
  ),
  counting(
    'rights',
    'rights are raised after the fact',
    ['fd_fdstat_set_rights', 'fd_filestat_set_size', 'fd_allocate', 'fd_pwrite', 'fd_pread'],
    (invoke) => [
      ...vector,
      ...some.flatMap((fd) => [
        ...counted(invoke('fd_fdstat_set_rights', fd, -1n, -1n)),
        ...counted(invoke('fd_filestat_set_size', fd, 1n << 62n)),
        ...counted(invoke('fd_allocate', fd, 0n, 1n << 62n)),
        ...counted(invoke('fd_pwrite', fd, 0, 1, -1n, 32)),
        ...counted(invoke('fd_pread', fd, 0, 1, 1n << 63n, 32)),
      ]),
    ],
  ),
  counting(
    'readdir cookies',
    'a cookie is an index that a runtime may trust',
    ['fd_readdir'],
    (invoke) =>
      some.flatMap((fd) =>
        [0n, 1n, 2n, 1n << 31n, 1n << 32n, (1n << 63n) - 1n, -1n].flatMap((cookie) =>
          counted(invoke('fd_readdir', fd, 4096, 4096, cookie, 32)),
        ),
      ),
  ),
  counting(
    'sockets',
    'a stream of the worker taken for a socket',
    ['sock_accept', 'sock_recv', 'sock_send', 'sock_shutdown'],
    (invoke) => [
      ...vector,
      ...some.flatMap((fd) => [
        ...counted(invoke('sock_accept', fd, 0, 64)),
        ...counted(invoke('sock_recv', fd, 0, 1, 0, 32, 36)),
        ...counted(invoke('sock_send', fd, 0, 1, 0, 32)),
        ...counted(invoke('sock_shutdown', fd, 3)),
      ]),
    ],
  ),
  counting(
    'seeking',
    'streams of the host are moved, or their position is read',
    ['fd_seek', 'fd_tell'],
    (invoke) =>
      some.flatMap((fd) => [
        ...counted(invoke('fd_seek', fd, -1n, 0, 64)),
        ...counted(invoke('fd_seek', fd, 1n << 62n, 2, 64)),
        ...counted(invoke('fd_tell', fd, 64)),
      ]),
  ),
  counting(
    'beyond the result',
    'descriptors of the worker: its socket, epoll, eventfd',
    [
      'fd_write',
      'fd_read',
      'fd_sync',
      'fd_datasync',
      'fd_close',
      'fd_fdstat_get',
      'fd_filestat_get',
      'proc_raise',
    ],
    (invoke) => [
      ...vector,
      ...Array.from({ length: 60 }, (_none, index) => index + 4).flatMap((fd) => [
        ...counted(invoke('fd_write', fd, 0, 1, 32)),
        ...counted(invoke('fd_read', fd, 0, 1, 32)),
        ...counted(invoke('fd_sync', fd)),
        ...counted(invoke('fd_datasync', fd)),
        ...counted(invoke('fd_close', fd)),
        ...counted(invoke('fd_fdstat_get', fd, 64)),
        ...counted(invoke('fd_filestat_get', fd, 64)),
        ...counted(invoke('proc_raise', fd)),
      ]),
    ],
  ),
  counting(
    'forged preopens',
    'a libc asks each descriptor for its folder until one answers; the answer is written before the error',
    ['fd_prestat_get', 'fd_prestat_dir_name', 'path_open'],
    (invoke) => [
      ...put(64, 0x5eed),
      ...put(256, 0x5eed),
      ...[...some, -2, -0x8000_0000, 0x1_0003 | 0, 1 << 31].flatMap((fd) => [
        ...counted(invoke('fd_prestat_get', fd, 64)),
        ...counted(invoke('fd_prestat_dir_name', fd, 256, 4)),
        ...counted(invoke('path_open', fd, 1, 256, 1, 9, -1n, -1n, 4, 64)),
      ]),
      ...differs(64, 0x5eed),
      ...differs(256, 0x5eed),
    ],
  ),
  counting(
    'what a stream is',
    'numbers of the host in the answer: rights to open, a device, an inode, times',
    ['fd_fdstat_get', 'fd_filestat_get'],
    (invoke) =>
      [0, 1, 2, 3].flatMap((fd) => [
        ...Array.from({ length: 16 }, (_none, word) => put(64 + word * 4, 0)).flat(),
        ...invoke('fd_fdstat_get', fd, 64),
        0x1a,
        // Rights: to read, or to write; none of them to be inherited.
        ...differs(72, fd === 0 ? 2 : 64),
        ...[76, 80, 84].flatMap((at) => differs(at, 0)),
        ...invoke('fd_filestat_get', fd, 64),
        0x1a,
        ...Array.from({ length: 16 }, (_none, word) => differs(64 + word * 4, 0)).flat(),
      ]),
  ),
  counting(
    'environment of the worker',
    'variables and arguments of the process that runs it',
    ['environ_sizes_get', 'environ_get', 'args_sizes_get', 'args_get'],
    (invoke) => [
      ...[64, 68, 4096, 8192].flatMap((at) => put(at, 0)),
      ...(
        [
          ['environ', [0, 0, 0, 0]],
          // The name alone, `main.wasm`.
          ['args', [1, 10, 8192, 0x6e69_616d]],
        ] as const
      ).flatMap(([of, given]) => [
        ...invoke(`${of}_sizes_get`, 64, 68),
        0x1a,
        ...invoke(`${of}_get`, 4096, 8192),
        0x1a,
        ...[64, 68, 4096, 8192].flatMap((at, index) => differs(at, given[index]!)),
      ]),
    ],
  ),
  counting(
    'polled descriptors',
    'an event tells what a descriptor of the host is, or how much can be read of it',
    ['poll_oneoff'],
    (invoke) =>
      beyond.flatMap((fd) =>
        [1, 2, 3, 255].flatMap((type) => [
          ...put(0, 7),
          ...put(8, type),
          ...put(16, fd),
          ...invoke('poll_oneoff', 0, 4096, 1, 64),
          0x1a,
          // Bytes that can be read, and flags.
          ...[4112, 4116, 4120].flatMap((at) => differs(at, 0)),
        ]),
      ),
  ),
]

/** Calls that must all fail. */
function counting(
  name: string,
  because: string,
  calls: readonly WasiCall[],
  body: Parameters<typeof attack>[1],
): WasiCase {
  return {
    name,
    family: 'descriptors',
    because,
    module: () => attack(calls, (invoke) => [...body(invoke), ...told]),
    expect: ['ok'],
    gives: 0,
  }
}
