import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempDisposableSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { noCompiler } from '../../tests/fixtures/c-compiler.ts'
import { isGlibc } from '../../tests/fixtures/glibc.ts'

/** Loses the next signal of the thread that sets this umask, as glibc may lose any. */
const library = `
  #define _GNU_SOURCE
  #include <dlfcn.h>
  #include <pthread.h>
  #include <sys/stat.h>
  static __thread int loses;
  mode_t umask(mode_t mask) {
    if (mask == 0123) loses = 1;
    return ((mode_t (*)(mode_t))dlsym(RTLD_NEXT, "umask"))(mask);
  }
  int pthread_cond_signal(pthread_cond_t *cond) {
    if (loses) return loses = 0;
    return ((int (*)(pthread_cond_t *))dlvsym(RTLD_NEXT, "pthread_cond_signal", VERSION))(cond);
  }`
/** Versions of the symbol by the architecture of a machine: without one the linker would take the oldest. */
const version = process.arch === 'arm64' ? 'GLIBC_2.17' : 'GLIBC_2.3.2'
const noGlibc = !isGlibc() && 'the library that loses a signal names versions of glibc'

suite('A process whose thread pool sleeps', { skip: noCompiler || noGlibc }, () => {
  const run = (program: string, env: NodeJS.ProcessEnv = {}, timeout?: number) =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      encoding: 'utf8',
      env: { ...process.env, ...env },
      timeout,
      killSignal: 'SIGKILL',
    })
  const keep = `
    import { keepPoolAwake } from ${JSON.stringify(import.meta.resolve('./keep-pool-awake.ts'))}
    keepPoolAwake(20)`
  // The first request starts the threads; all of them sleep when the other comes.
  const loseOne = `
    import { stat } from 'node:fs/promises'
    import { setTimeout } from 'node:timers/promises'
    await stat('/')
    await setTimeout(200)
    console.log('asks')
    process.umask(0o123)
    await stat('/')
    console.log('answered')`

  test('A request whose signal was lost is taken at the next one, and waits for ever without it', () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'mayfly-pool-'))
    const [source, made] = [join(folder.path, 'lose.c'), join(folder.path, 'lose.so')]
    writeFileSync(source, library)
    const flags = ['-shared', '-fPIC', `-DVERSION="${version}"`, '-o', made, source, '-ldl']
    execFileSync('cc', flags)
    const env = { LD_PRELOAD: made }
    // On a busy machine a thread may still be at work when the other request comes, and take it.
    const isLost = () => {
      const { signal, stdout } = run(loseOne, env, 1000)
      return signal === 'SIGKILL' && stdout === 'asks\n'
    }
    assert.ok([1, 2, 3, 4, 5].some(isLost))
    const kept = run(keep + loseOne, env, 60_000)
    assert.deepEqual([kept.status, kept.stdout], [0, 'asks\nanswered\n'], kept.stderr)
  })

  test('A process without work ends, though its pool is kept awake', () => {
    const { status, stderr } = run(keep, {}, 60_000)
    assert.deepEqual([status, stderr], [0, ''])
  })
})
