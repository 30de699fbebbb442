import { isReached, usesOfBindings, usesOfModules, type Rule } from './rule.ts'

/** File access by any module. */
export const filesystem: Rule = {
  name: 'FILESYSTEM',
  *find(facts) {
    yield* usesOfModules(facts, modules)
    for (const reference of facts.references) {
      if (isReached(reference) && OTHERS.test(reference.path)) yield reference.node
    }
    yield* usesOfBindings(facts, wraps)
  },
}

const modules = new Set([
  'fs',
  'chokidar',
  'fs-extra',
  'glob',
  'graceful-fs',
  'memfs',
  'mkdirp',
  'original-fs',
  'rimraf',
])
const wraps = new Set(['fs'])
const OTHERS =
  /^(?:Deno\.(?:readFile|readTextFile|writeFile|writeTextFile|open|remove|mkdir|readDir|readLink|realPath|rename|copyFile|stat|lstat|symlink|truncate|watchFs|makeTemp|chmod|chown|utime)\w*|Deno\.(?:create|link|umask)(?:Sync)?|process\.report\.writeReport|module:v8\.writeHeapSnapshot|Bun\.(?:file|write)|navigator\.storage\.getDirectory|show(?:Open|Save|Directory)\w*Picker)$/
