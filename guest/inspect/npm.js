/**
 * Does with an npm package what its installation and its first use would do: scripts of its installation, then the import
 * of it. Runs inside a wall; the package lies below `package/`, or in the archive that is the first argument.
 */
const { spawnSync } = require('node:child_process')
const {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  symlinkSync,
} = require('node:fs')
const { dirname, join, resolve } = require('node:path')

const [archive] = process.argv.slice(2)
if (archive) unpack(archive)
const folder = resolve('package')
const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const name = typeof manifest.name === 'string' ? manifest.name : 'package'

for (const event of ['preinstall', 'install', 'postinstall']) {
  const script = manifest.scripts?.[event]
  if (typeof script === 'string') step(`${event}: ${script}`, 'sh', ['-c', script], event)
}
const place = resolve('node_modules', name)
mkdirSync(dirname(place), { recursive: true })
if (!existsSync(place)) symlinkSync(folder, place)
const importIt = `import(${JSON.stringify(name)}).then(({ default: it }) => process.stderr.write('imported: ' + typeof it + '\\n'))`
step(`import of ${name}`, process.execPath, ['--input-type=module', '-e', importIt])

function unpack(file) {
  mkdirSync('opened')
  spawnSync('tar', ['-xf', file, '-C', 'opened', '--no-same-owner'], { stdio: 'inherit' })
  // An archive of npm has its files in one folder, whatever its name.
  const [only, ...others] = readdirSync('opened')
  const isInner = only && others.length === 0 && !existsSync('opened/package.json')
  renameSync(isInner ? join('opened', only) : 'opened', 'package')
  readFileSync('inspect-begin')
}

function step(title, program, args, event) {
  process.stderr.write(`== ${title}\n`)
  const env = {
    ...process.env,
    npm_package_name: name,
    npm_package_version: String(manifest.version ?? ''),
    npm_lifecycle_event: event ?? '',
    npm_config_user_agent: `npm/11.0.0 node/${process.version} linux x64`,
    INIT_CWD: process.cwd(),
  }
  const cwd = event ? folder : process.cwd()
  const { status, signal } = spawnSync(program, args, { cwd, env, stdio: 'inherit' })
  if (status !== 0) process.stderr.write(`== ended with ${signal ?? status}\n`)
}
