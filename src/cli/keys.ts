import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Command } from 'commander'
import { MayflyError, messageOf } from '../contract/error.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { attempt } from '../lib/attempt.ts'
import type { Job, Language } from '../contract/job.ts'
import type { Envelope } from '../contract/signature.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { parseJson } from '../lib/parse-json.ts'
import { isSignable, rawPublicKey, type Signable, signEnvelope } from '../threat/signature.ts'
import {
  isKeyText,
  openSigners,
  revokeSigner,
  type Signers,
  signersOf,
  type TrustedSigner,
  trustSigner,
} from '../threat/signers.ts'
import { createVerifier } from '../threat/verify-job.ts'
import { expiryOf } from './expiry.ts'
import { loadCliConfig } from './open-assembly.ts'
import { parseLanguage } from './option-values.ts'
import { note, printJson, printText, table, type Globals } from './print.ts'
import { recordChanges } from './record-changes.ts'
import { readSignatures } from './signature-file.ts'
import { isScriptName, readProgram } from './source.ts'
import { outputOfOwner, stateFolderOf, strangerOwning } from './state-owner.ts'
import { failedExitCode, verb } from './verb.ts'

/** `mayfly keys …`: signs code and manages trusted signers. Needs no server. */
export function register(program: Command): void {
  const keys = program
    .command('keys')
    .description('sign code, and manage trusted signers')
    .addHelpText('after', examples)
  keys
    .command('generate')
    .description('create a key pair: FILE is the private key, FILE.pub the public key')
    .argument('<file>', 'file of the private key; must not exist')
    .action(verb(generate))
  keys
    .command('sign')
    .description('sign code, and print the signature for "run --signature" and the API')
    .argument('<file>', 'the source; - reads stdin')
    .requiredOption('--key <file>', 'the private key')
    .option('--file <path...>', 'a file or folder of the job, as for "run"')
    .option('--language <name>', languageHelp, parseLanguage)
    .option('--capability <name...>', 'capabilities that may be granted, such as network')
    .option('--expires <time>', 'expiry, such as 90d, 2030-01-31 or never', '90d')
    .option('--raw', 'sign the bytes of the code only: binds nothing else, never expires')
    .option('--out <file>', 'output file; default: stdout')
    .action(verb(signFile))
  keys
    .command('verify')
    .description('check that a trusted signer signed the code; exits 0 or 1')
    .argument('<file>', 'the source; - reads stdin')
    .requiredOption('--signature <file...>', 'output of "keys sign"')
    .option('--file <path...>', 'a file or folder of the job')
    .option('--language <name>', languageHelp, parseLanguage)
    .option('--public-key <key>', 'trust this key only: base64, or a .pub file')
    .option('--tenant <name>', 'tenant of the job', 'default')
    .action(verb(verify))
  keys
    .command('trust')
    .description('trust a key: jobs that it signs run, from the next job on')
    .argument('<key>', 'the key: base64, or a .pub file')
    .requiredOption('--name <name>', 'name of the signer')
    .option('--tenant <name>', 'for jobs of this tenant only')
    .action(verb(trust))
  keys
    .command('revoke')
    .description('revoke a key permanently: jobs that it signs are refused, from the next job on')
    .argument('<key>', 'the key: base64, a .pub file, or the name of the signer')
    .action(verb(revoke))
  keys.command('list').description('list trusted and revoked keys').action(verb(list))
}

const languageHelp = 'language of the code; default: by suffix or shebang'

const examples = `
Examples:
  mayfly keys generate ci.key
  mayfly keys trust ci.key.pub --name ci
  mayfly keys sign job.js --key ci.key --out job.js.sig
  mayfly run job.js --signature job.js.sig
  mayfly keys revoke ci`

interface Flags extends Globals {
  readonly key: string
  readonly file?: readonly string[]
  readonly language?: Language
  readonly capability?: readonly string[]
  readonly expires: string
  readonly raw?: boolean
  readonly out?: string
  readonly signature: readonly string[]
  readonly publicKey?: string
  readonly tenant?: string
  readonly name: string
}

async function generate(flags: Flags, file: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const key = rawPublicKey(privateKey)
  write(file, privateKey.export({ format: 'pem', type: 'pkcs8' }), 0o600)
  write(`${file}.pub`, `${key}\n`, 0o644)
  if (flags.json) return printJson({ file, publicFile: `${file}.pub`, publicKey: key })
  printText(key)
  note(
    flags,
    sanitiseLine(
      `Keep "${file}" secret. To trust its public key: mayfly keys trust ${file}.pub --name NAME`,
    ),
  )
}

async function signFile(flags: Flags, file: string): Promise<void> {
  const key = privateKeyOf(flags.key)
  const made = flags.raw ? await signRaw(flags, file, key) : await signWhole(flags, file, key)
  const text = `${JSON.stringify(made, null, 2)}\n`
  if (!flags.out) return void process.stdout.write(text)
  write(flags.out, text, 0o644, 'w')
  if (flags.json) printJson({ file: flags.out })
}

async function signWhole(flags: Flags, file: string, key: KeyObject): Promise<Envelope> {
  const expires = expiryOf(flags.expires, Date.now())
  return signEnvelope(await signableOf(flags, file), key, {
    capabilities: flags.capability ?? [],
    expires,
  })
}

async function signRaw(flags: Flags, file: string, key: KeyObject) {
  const { code } = await signableOf(flags, file)
  if (flags.file || flags.capability || flags.language)
    throw new MayflyError('USAGE', 'Cannot bind files, capabilities or a language with --raw')
  if (!isSignable(code))
    throw new MayflyError('USAGE', `Cannot sign "${file}": it parses as an envelope`)
  const signature = sign(null, Buffer.from(code), key).toString('base64')
  return { signature, publicKey: rawPublicKey(key) }
}

async function verify(flags: Flags, file: string): Promise<void> {
  const { config } = loadCliConfig(flags)
  const asked = { ...(await signableOf(flags, file)), ...(await readSignatures(flags.signature)) }
  const only = flags.publicKey === undefined ? undefined : keyOf(flags.publicKey)
  const signed = createVerifier({
    config: () => config,
    signers: only !== undefined ? { trusts: (key) => key === only } : signersIn(config.state),
    date: Date.now,
  })({ asked, tenant: flags.tenant } as Job)
  if (signed.kind !== 'valid') process.exitCode = failedExitCode
  if (flags.json) return printJson({ valid: signed.kind === 'valid', ...signed })
  if (signed.kind === 'valid') printText(`valid: ${signed.keys.join(', ')}`)
  if (signed.kind === 'refused') printText(`${signed.error.code}: ${signed.error.message}`)
}

/** Signers, read as the owner of the state folder. */
function signersIn(state: string): Pick<Signers, 'trusts'> {
  const owner = strangerOwning(state)
  if (!owner) return openSigners(state)
  const words = ['keys', 'list', '--json']
  return signersOf(parseJson(outputOfOwner(owner, { task: { state }, words, stdout: 'pipe' })))
}

async function trust(flags: Flags, given: string): Promise<void> {
  const { config } = loadCliConfig(flags)
  const wanted = {
    key: keyOf(given),
    name: flags.name,
    tenant: flags.tenant ?? null,
    at: Date.now(),
  }
  if (wanted.tenant !== null && !config.tenants.some(({ name }) => name === wanted.tenant))
    note(flags, `No tenant "${wanted.tenant}" is configured yet`)
  const { signer, changed } = await recordChanges(config.state, (record) =>
    trustSigner(config.state, wanted, (signer) =>
      record('signer/trusted', factsOf(signer), signer.tenant),
    ),
  )
  reportChange(flags, signer, changed ? 'Trusted from the next job on' : 'Already trusted')
}

async function revoke(flags: Flags, given: string): Promise<void> {
  const { config } = loadCliConfig(flags)
  const which = { keyOrName: signerOf(given, openSigners(config.state).list()), at: Date.now() }
  const { signer, changed } = await recordChanges(config.state, (record) =>
    revokeSigner(config.state, which, (signer) =>
      record('signer/revoked', factsOf(signer), signer.tenant),
    ),
  )
  reportChange(flags, signer, changed ? 'Revoked from the next job on' : 'Already revoked')
}

async function list(flags: Flags): Promise<void> {
  const signers = openSigners(stateFolderOf(flags)).list()
  if (flags.json) return printJson(signers)
  if (signers.length === 0) return note(flags, 'No trusted keys')
  const rows = signers.map(({ key, name, tenant, trustedAt, revokedAt }) => [
    name,
    tenant ?? 'every tenant',
    key,
    `trusted ${trustedAt}`,
    revokedAt === null ? '' : `revoked ${revokedAt}`,
  ])
  printText(table(rows))
}

function reportChange(flags: Flags, signer: TrustedSigner, change: string): void {
  if (flags.json) return printJson(signer)
  note(flags, `${change}: ${sanitiseLine(signer.name)} (${signer.key})`)
}

function factsOf({ key, name, tenant }: TrustedSigner): Record<string, unknown> {
  return { key, name, tenant }
}

/** Code, language and files in the form that `run` sends; no language of a source whose name and first line tell none. */
async function signableOf(flags: Flags, file: string): Promise<Signable> {
  const read = await readProgram(file, flags.language)
  const { code, language = isScriptName(file) ? 'js' : undefined } = read
  if (!flags.file) return { code, language, files: [] }
  const { jobFiles } = await import('./job-files.ts')
  return {
    code,
    language,
    files: (await Promise.all(flags.file.map((given) => jobFiles(given)))).flat(),
  }
}

function privateKeyOf(file: string): KeyObject {
  try {
    const key = createPrivateKey(readFileSync(file))
    if (key.asymmetricKeyType === 'ed25519') return key
    throw new Error(`it is of type ${key.asymmetricKeyType}, not ed25519`)
  } catch (cause) {
    const { code = '' } = cause as { readonly code?: string }
    const why = code.startsWith('ERR_OSSL')
      ? 'it is no private key in PEM'
      : whyUnreadable(file, cause).because
    throw new MayflyError('USAGE', `Cannot use the key "${file}": ${why}`, { cause })
  }
}

/**
 * Base64, or else a file containing it. Attack: a file of an untrusted folder is named like a key, and contains
 * another one; text in the form of a key is therefore never read as a path.
 */
function keyOf(given: string): string {
  const name = given.trim()
  if (isKeyText(name)) return name
  const isLikeKey = LIKE_KEY.test(name)
  const text = !isLikeKey && isReadable(given) ? readFileSync(given, 'utf8').trim() : given
  if (isKeyText(text)) return text
  throw new MayflyError('USAGE', `Cannot use "${given}": expected a public Ed25519 key in base64`, {
    ...(isLikeKey && { hint: 'A file of such a name is given with its folder, as ./NAME' }),
  })
}

/** Text as long as a key in base64, of either alphabet, with its padding or without. */
const LIKE_KEY = /^[\w+/-]{43}=?$/

/** A key, or the name of a listed signer. Throws MayflyError USAGE where a file of that name holds another key. */
function signerOf(given: string, signers: readonly TrustedSigner[]): string {
  if (isKeyText(given.trim())) return given.trim()
  const named = signers.filter(({ name }) => name === given)
  if (named.length === 0) return isReadable(given) ? keyOf(given) : given
  const key = isReadable(given) ? attempt(() => keyOf(given)) : undefined
  if (key === undefined || named.some((one) => one.key === key)) return given
  throw new MayflyError(
    'USAGE',
    `Cannot choose between the signer "${given}" and the key in a file of that name`,
    { hint: 'Give the key itself, as "mayfly keys list" prints it, or the file as ./NAME' },
  )
}

/** True for a file or a pipe, and not for a folder. False where nothing can be found: a key has `/` in it, and may be below a closed folder. */
function isReadable(path: string): boolean {
  return attempt(() => statSync(path, { throwIfNoEntry: false }))?.isDirectory() === false
}

function write(file: string, text: string, mode: number, flag = 'wx'): void {
  try {
    writeFileSync(file, text, { mode, flag })
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot write "${path.normalize(file)}": ${messageOf(cause)}`, {
      cause,
    })
  }
}
