import {
  op,
  wasm,
  type Func,
  type Import,
  type Parts,
  type ValueType,
} from '../../fixtures/wasm.ts'

/** Every function of `wasi_snapshot_preview1`: a letter for each parameter, `i` of 32 bits and `I` of 64. */
export const signatures = {
  args_get: 'ii',
  args_sizes_get: 'ii',
  environ_get: 'ii',
  environ_sizes_get: 'ii',
  clock_res_get: 'ii',
  clock_time_get: 'iIi',
  fd_advise: 'iIIi',
  fd_allocate: 'iII',
  fd_close: 'i',
  fd_datasync: 'i',
  fd_fdstat_get: 'ii',
  fd_fdstat_set_flags: 'ii',
  fd_fdstat_set_rights: 'iII',
  fd_filestat_get: 'ii',
  fd_filestat_set_size: 'iI',
  fd_filestat_set_times: 'iIIi',
  fd_pread: 'iiiIi',
  fd_prestat_get: 'ii',
  fd_prestat_dir_name: 'iii',
  fd_pwrite: 'iiiIi',
  fd_read: 'iiii',
  fd_readdir: 'iiiIi',
  fd_renumber: 'ii',
  fd_seek: 'iIii',
  fd_sync: 'i',
  fd_tell: 'ii',
  fd_write: 'iiii',
  path_create_directory: 'iii',
  path_filestat_get: 'iiiii',
  path_filestat_set_times: 'iiiiIIi',
  path_link: 'iiiiiii',
  path_open: 'iiiiiIIii',
  path_readlink: 'iiiiii',
  path_remove_directory: 'iii',
  path_rename: 'iiiiii',
  path_symlink: 'iiiii',
  path_unlink_file: 'iii',
  poll_oneoff: 'iiii',
  proc_exit: 'i',
  proc_raise: 'i',
  random_get: 'ii',
  sched_yield: '',
  sock_accept: 'iii',
  sock_recv: 'iiiiii',
  sock_send: 'iiiii',
  sock_shutdown: 'ii',
} as const
export type WasiCall = keyof typeof signatures
export const wasiCalls = Object.keys(signatures) as readonly WasiCall[]

/** Modules keep vectors and results below this address. */
export const textAt = 1024

const typeOf = { i: 'i32', I: 'i64' } as const

/** An import of a function, with its own signature unless `params` are given. */
export function imported(name: WasiCall, params?: readonly ValueType[]): Import {
  const own = signatures[name].split('').map((letter) => typeOf[letter as 'i' | 'I'])
  const results = name === 'proc_exit' ? [] : (['i32'] as const)
  return { module: 'wasi_snapshot_preview1', name, params: params ?? own, results }
}

/** A module that imports functions by name; `make` writes its body by their indexes. */
export function attack(
  names: readonly WasiCall[],
  make: (invoke: Invoke) => readonly number[],
  { text = '', pages = 2, ...more }: Attack = {},
): Buffer {
  const invoke: Invoke = (name, ...args) => [
    ...args.flatMap((arg, at) =>
      signatures[name][at] === 'I' ? i64(BigInt(arg)) : op.i32(Number(arg)),
    ),
    ...op.call(names.indexOf(name)),
  ]
  const main = { export: 'run', results: ['i32'], locals: ['i32', 'i32', 'i64', 'i64'] } as const
  return wasm({
    imports: names.map((name) => imported(name)),
    memory: { min: pages },
    data: text === '' ? [] : [{ at: textAt, text }],
    ...more,
    functions: [{ ...main, ...more.main, body: make(invoke) }, ...(more.functions ?? [])],
  })
}

export type Invoke = (name: WasiCall, ...args: readonly (number | bigint)[]) => readonly number[]

interface Attack extends Omit<Parts, 'imports'> {
  readonly text?: string
  readonly pages?: number
  readonly main?: Partial<Func>
}

/** Counts in local 0 each call that returns 0, which is a successful attack. */
export function counted(call: readonly number[]): readonly number[] {
  return [...call, ...op.i32Eqz, ...op.get(0), ...op.i32Add, ...op.set(0)]
}

/** Counts in local 0 a word of memory that is not `value`: it was written to, or holds what no honest answer has. */
export function differs(at: number, value: number): readonly number[] {
  const isOther = [...op.i32(at), ...op.load(), ...op.i32(value), 0x47]
  return [...isOther, ...op.get(0), ...op.i32Add, ...op.set(0)]
}

/** The count, as the result. */
export const told = op.get(0)

export function forever(body: readonly number[]): readonly number[] {
  return [...op.loop([...body, ...op.branch(0)]), ...op.i32(0)]
}

export function i64(value: bigint): readonly number[] {
  const bytes = [0x42]
  for (let rest = BigInt.asIntN(64, value); ; rest >>= 7n) {
    const low = Number(rest & 0x7fn)
    const isLast = (rest >> 6n === 0n && low < 0x40) || (rest >> 6n === -1n && low >= 0x40)
    if (isLast) return [...bytes, low]
    bytes.push(low | 0x80)
  }
}

/** Stores a word of 32 bits. */
export function put(at: number, value: number): readonly number[] {
  return [...op.i32(at), ...op.i32(value), ...op.store()]
}
