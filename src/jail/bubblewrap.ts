import { compileSeccomp, readSeccompPolicy } from '../os/seccomp.ts'
import { placesInside, type JailCommand, type JailedProgram, type JailOptions } from './embedded.ts'
import type { JailFacts, Layer } from './facts.ts'

/**
 * The same jail by bubblewrap, where it is installed: one program start less, and a launcher that many others
 * depend on and watch. Landlock is left out: it would need a second start, and the root is empty already.
 */

/** The filter is given on this descriptor, after stdio, the socket and the readiness pipe. */
export const seccompFd = 5

/** No core dump, which would put a guest's memory on a disk, and few files: bubblewrap has no words for either. */
const limited = ['/bin/sh', '-c', 'ulimit -c 0 && ulimit -n 256 && exec "$@"', 'sh']

/** Undefined where bubblewrap is missing or cannot make namespaces. */
export function composeBubblewrap(
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
): JailCommand | undefined {
  const off = (layer: Layer) => options.without.includes(layer)
  if (!facts.bubblewrap || !facts.namespaces || off('namespaces')) return undefined
  const uid = off('own uid') ? undefined : options.uid
  const become =
    uid === undefined ? [] : ['--reuid', `${uid}`, '--regid', `${uid}`, '--clear-groups']
  const die = facts.setpriv ? [facts.setpriv, ...become, '--pdeathsig', 'KILL', '--'] : undefined
  if (uid !== undefined && !die) return undefined
  const all = [...(die ?? []), ...limited, facts.bubblewrap, ...walls(program, options)]
  return {
    way: 'bubblewrap',
    file: all[0]!,
    args: all.slice(1),
    nested: true,
    ...(!off('seccomp') && { filter: compileSeccomp(readSeccompPolicy('start')) }),
    layers: [
      'user namespace',
      'network namespace',
      'pid namespace',
      'empty root',
      ...(uid === undefined ? [] : ['own uid']),
      ...(off('seccomp') ? [] : ['seccomp']),
    ],
    missing: uid === undefined ? ['own uid: walls share the uid of whoever started Mayfly'] : [],
  }
}

function walls(program: JailedProgram, options: JailOptions): readonly string[] {
  const { tree, links, exec } = placesInside(program, options)
  const unfiltered = options.without.includes('seccomp')
  return [
    '--unshare-all',
    '--die-with-parent',
    '--as-pid-1',
    '--cap-drop',
    'ALL',
    '--hostname',
    'mayfly',
    '--clearenv',
    ...Object.entries(exec.env).flatMap(([name, value]) => ['--setenv', name, value]),
    ...tree.flatMap((place) => ['--ro-bind', place, place]),
    ...links.flatMap(({ at, target }) => ['--symlink', target, at]),
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    ...(unfiltered ? [] : ['--seccomp', `${seccompFd}`]),
    '--',
    exec.path,
    ...exec.args.slice(1),
  ]
}
