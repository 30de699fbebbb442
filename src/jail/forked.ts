import { parseJson } from '../lib/parse-json.ts'
import { compileSeccomp, readSeccompPolicy } from '../os/seccomp.ts'
import { embeddedSpec, execInside, type JailedProgram, type JailOptions } from './embedded.ts'
import { rootOf, wallSteps } from './embedded-steps.ts'
import type { JailFacts } from './facts.ts'
import type { JailSpec } from './jail-spec.ts'
import { launcherPath, step, type Step } from './launch-steps.ts'
import { launcherFdOfWhole, limitsOfWhole, ownFolder, reservedFds, workFolder } from './whole.ts'

/**
 * The embedded jail of a program that is forked from a warm template (guest/zygote): the template's own jail, and the
 * steps of its children, which are those of the launcher.
 *
 * The template has the root of a wall, so that each file has the same path in it and in its children. It has namespaces
 * of its own except for pids, an empty network, and only the capabilities that the steps need. It has no Landlock,
 * which would forbid mounts to its children.
 */
export interface ForkedJail {
  /** Steps of a child, after those that enter its cgroups. */
  readonly steps: readonly string[]
  /** Both filters, if a sentinel takes their listener. */
  readonly filter: Buffer | undefined
  readonly template: TemplateJail
}

export interface TemplateJail {
  /** Path and arguments of the launcher. */
  readonly file: string
  readonly args: readonly string[]
}

/** Descriptor of the library in the launcher, after its own. */
export const libraryFd = launcherFdOfWhole + 1
/** Folder of the library inside: a mount of its own, because the root allows no file to be executed. */
const LIBRARY_FOLDER = `${ownFolder}/template`
const LIBRARY_OPTIONS = 'size=4194304,nr_inodes=4,mode=700'
const SCRATCH_BYTES = 2 ** 20
const READY_FD = 4
const REQUEST_FD = 5
/** CAP_CHOWN, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_ADMIN: needed by the steps of a wall. */
const CAPABILITIES = [0, 6, 7, 8, 12, 21]
/** CAP_SETFCAP: without it no user namespace below this one maps its uid 0 (Linux 5.12). */
const CAPABILITIES_OF_USER = [...CAPABILITIES, 31]

/** Undefined for a wall without namespaces, or with packages that a template does not have. */
export function composeForked(
  program: JailedProgram,
  facts: JailFacts,
  options: JailOptions,
): ForkedJail | undefined {
  const { whole } = program
  const hasAllLayers = options.without.length === 0
  if (!whole || !facts.namespaces || !hasAllLayers || options.layers?.length) return undefined
  const { spec, asking } = embeddedSpec(program, facts, options)
  const exec = execInside(program, whole, options)
  return {
    steps: childSteps(spec, facts).flat(),
    filter: asking?.filter,
    template: templateJail({ ...spec, exec }, facts),
  }
}

/** Paths are those of the template's root, in which files already have their paths of the wall. */
function childSteps(spec: JailSpec, { root }: JailFacts): readonly Step[] {
  const whole = spec.whole!
  const places = (whole.places ?? []).map(({ at }) => ({ from: at, at }))
  return [
    ...(root ? [] : [step('own-proc')]),
    ...wallSteps({ ...spec, whole: { ...whole, places } }, root),
    step('reserve', ...reservedFds),
    ...(spec.seccomp ? [step('seccomp', spec.seccomp)] : []),
  ]
}

function templateJail(spec: JailSpec, { root }: JailFacts): TemplateJail {
  const { settings: _, ...whole } = spec.whole!
  const own: JailSpec = {
    ...spec,
    user: null,
    whole: {
      ...whole,
      scratchBytes: SCRATCH_BYTES,
      layers: [],
      // Left to the children: these files contain the uid of a wall.
      etc: {},
      proc: null,
    },
  }
  const namespaces = ['net', 'mount', 'ipc', 'uts']
  const steps = [
    step('close', launcherFdOfWhole),
    step('ignore-signals'),
    step('die-with-parent'),
    step('namespaces', ...(root ? namespaces : ['user', ...namespaces])),
    ...rootOf(own, (trees, over) => {
      const folder = over + LIBRARY_FOLDER
      trees.add(step('folder', '700', folder), step('tmpfs', folder, LIBRARY_OPTIONS))
      // Copies by descriptor: the file at the path may have been replaced since the check.
      trees.add(step('copy', libraryFd, `${folder}/zygote.so`))
      // In a user namespace the kernel mounts a /proc only if another one is already visible.
      if (!root) trees.bind('/proc', `${over}/proc`, 'attach')
    }),
    step('limit', 'core', limitsOfWhole.core),
    step('keep-capabilities', ...(root ? CAPABILITIES : CAPABILITIES_OF_USER)),
    step('no-new-privileges'),
    step('keep', READY_FD, REQUEST_FD),
    step('seccomp', templateFilter()),
    step('variables', ...Object.entries(environment(spec)).map((pair) => pair.join('='))),
    step('exec', spec.exec.path, ...asTemplate(spec.exec.args)),
  ]
  return { file: launcherPath(launcherFdOfWhole), args: steps.flat() }
}

/** Includes the variable that a shell adds in a wall that is started by an exec. */
function environment({ exec }: JailSpec): Readonly<Record<string, string>> {
  return { ...exec.env, PWD: workFolder }
}

/** The runner's settings are its last argument. A template is always warm, so that it serves warm and cold requests. */
function asTemplate(args: readonly string[]): readonly string[] {
  const settings = parseJson(args.at(-1)!) as object
  return [...args.slice(0, -1), JSON.stringify({ ...settings, warm: true, template: true })]
}

let compiled: string | undefined

function templateFilter(): string {
  compiled ??= compileSeccomp(readSeccompPolicy('zygote')).toString('hex')
  return compiled
}
