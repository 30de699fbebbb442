import type { Bait } from '../../case.ts'
import {
  attack,
  counted,
  differs,
  put,
  textAt,
  told,
  type Invoke,
  type WasiCall,
} from '../calls.ts'
import type { WasiCase } from '../case.ts'

/** Descriptors that a runtime may have given folders to, and absurd ones. */
const folders = [0, 1, 2, 3, 4, 5, 6, 7, 64, -1, 0x7fff_ffff, -100]
const outAt = 64

/** Every call that takes a path, and what it is given for a folder and a text. */
const pathCalls = {
  path_open: (fd, at, length) => [fd, 1, at, length, 0, 2n, 2n, 0, outAt],
  path_create_directory: (fd, at, length) => [fd, at, length],
  path_filestat_get: (fd, at, length) => [fd, 1, at, length, outAt],
  path_filestat_set_times: (fd, at, length) => [fd, 1, at, length, -1n, -1n, 5],
  path_link: (fd, at, length) => [fd, 1, at, length, 3, at, length],
  path_readlink: (fd, at, length) => [fd, at, length, outAt, 512, 32],
  path_remove_directory: (fd, at, length) => [fd, at, length],
  path_rename: (fd, at, length) => [fd, at, length, fd, at, length],
  path_symlink: (fd, at, length) => [at, length, fd, at, length],
  path_unlink_file: (fd, at, length) => [fd, at, length],
} satisfies Partial<
  Record<WasiCall, (fd: number, at: number, length: number) => readonly (number | bigint)[]>
>

export const paths: readonly WasiCase[] = [
  ...(Object.keys(pathCalls) as (keyof typeof pathCalls)[]).map((call): WasiCase => ({
    name: `paths by ${call}`,
    family: 'paths',
    because: 'absolute paths, `..`, links below /proc and names with NUL, from each descriptor',
    module: (bait) =>
      onPaths([call], pathsOf(bait), (invoke, fd, at, length) =>
        counted(invoke(call, ...pathCalls[call](fd, at, length))),
      ),
    expect: ['ok'],
    gives: 0,
  })),
  {
    name: 'paths that are made',
    family: 'paths',
    because: 'opening makes and cuts files, by each set of flags, where looking does nothing',
    module: (bait) =>
      onPaths(['path_open', 'path_create_directory'], made(bait), (invoke, fd, at, length) => [
        ...[1, 4, 5, 8, 9, 13].flatMap((flags) =>
          counted(invoke('path_open', fd, 0, at, length, flags, -1n, -1n, 5, outAt)),
        ),
        ...counted(invoke('path_create_directory', fd, at, length)),
      ]),
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'links and moves between folders',
    family: 'paths',
    because: 'one name of two is judged: from a folder to a path outside, and back',
    module: (bait) => {
      const texts = ['own', bait.canaryFile, ...made(bait)]
      const calls = ['path_open', 'path_link', 'path_rename', 'path_symlink'] as const
      return onPaths(calls, texts, (invoke, fd, at, length) =>
        [0, 3, 4].flatMap((other) => [
          ...invoke('path_open', fd, 0, textAt, 3, 1, -1n, -1n, 0, outAt),
          0x1a,
          ...counted(invoke('path_link', fd, 1, textAt, 3, other, at, length)),
          ...counted(invoke('path_link', fd, 0, at, length, other, textAt, 3)),
          ...counted(invoke('path_rename', fd, textAt, 3, other, at, length)),
          ...counted(invoke('path_rename', other, at, length, fd, textAt, 3)),
          ...counted(invoke('path_symlink', at, length, fd, textAt, 3)),
        ]),
      )
    },
    expect: ['ok'],
    gives: 0,
  },
  {
    name: 'a path that is opened and read',
    family: 'paths',
    because:
      'path_open may answer an error and still have opened one: all descriptors are read then',
    module: ({ canaryFile }) =>
      attack(
        ['path_open', 'fd_read', 'fd_pread', 'fd_write'],
        (invoke) => [
          ...folders.flatMap((fd) => [
            ...invoke('path_open', fd, 0, textAt, canaryFile.length, 0, -1n, -1n, 0, outAt),
            0x1a,
          ]),
          ...vector,
          ...Array.from({ length: 60 }, (_none, fd) => [
            ...counted(invoke('fd_read', fd + 4, 0, 1, 32)),
            ...counted(invoke('fd_pread', fd + 4, 0, 1, 0n, 32)),
          ]).flat(),
          ...invoke('fd_write', 1, 0, 1, 32),
          0x1a,
          ...told,
        ],
        { text: canaryFile },
      ),
    expect: ['ok'],
    gives: 0,
  },
]

/** Names to make: plain, with slashes at the end, twice, and climbing. */
function made({ markFile }: Bait): readonly string[] {
  const name = markFile.slice(markFile.lastIndexOf('/') + 1)
  const up = '../'.repeat(16)
  return [
    name,
    `${name}/`,
    `./${name}//`,
    markFile,
    `${markFile}/`,
    `/${markFile}`,
    `${up}${markFile}`,
  ]
}

/** A module that does the same for each text from each descriptor. */
function onPaths(
  calls: readonly WasiCall[],
  texts: readonly string[],
  each: (invoke: Invoke, fd: number, at: number, length: number) => readonly number[],
): Buffer {
  const starts = texts.map((_text, index) => textAt + texts.slice(0, index).join('').length)
  const all = (invoke: Invoke) =>
    folders.flatMap((fd) =>
      texts.flatMap((text, index) => each(invoke, fd, starts[index]!, text.length)),
    )
  return attack(
    calls,
    (invoke) => [...put(outAt, 0x5eed), ...all(invoke), ...differs(outAt, 0x5eed), ...told],
    {
      text: texts.join(''),
    },
  )
}

/** A vector at 0: 400 bytes from 4096 on. */
const vector = [...put(0, 4096), ...put(4, 400)]

function pathsOf({ canaryFile, markFile }: Bait): readonly string[] {
  return [
    canaryFile,
    markFile,
    `..${'/..'.repeat(16)}${canaryFile}`,
    `./${'../'.repeat(16)}etc/passwd`,
    '/proc/self/environ',
    '/proc/self/fd/3',
    '/proc/self/root/etc/passwd',
    '/dev/fd/0',
    '.',
    '..',
    '/',
    '',
    `${canaryFile}\0.txt`,
    'file:///etc/passwd',
    'a/'.repeat(300),
  ]
}
