import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import * as z from 'zod'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { parseJson } from '../lib/parse-json.ts'
import { checkedPath } from './entry-path.ts'

/** Recipes and locks that ship with Mayfly. */
export const ownRecipes = fileURLToPath(new URL('../../images', import.meta.url))

/** Recipe and lock of mkfs.erofs. */
export const ownMakers = fileURLToPath(new URL('../../images/maker', import.meta.url))

const fileBytesMax = 2 ** 20
const packagesMax = 500
const linesMax = 2000

/** Name of a recipe, and of a tag. */
export const imageName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
const packageName = z.string().regex(/^[a-z0-9][a-z0-9+.-]{1,127}$/)
const suiteName = z.string().regex(/^[a-z][a-z0-9-]{1,31}$/)
const architectureName = z.enum(['amd64', 'arm64'])
const sha256Text = z.string().regex(/^[0-9a-f]{64}$/)
const pattern = z.string().min(1).max(200)
const moduleName = z.string().regex(/^[A-Za-z_]\w{0,63}(?:\.[A-Za-z_]\w{0,63}){0,7}$/)
const place = z.string().refine(isPlace, 'no path inside an image')

const recipeSchema = z
  .strictObject({
    format: z.literal(1),
    name: imageName,
    /** Purpose, in one line. */
    function: z.string().min(1).max(200),
    /** An erofs file system, or an archive (newc) that a host reads whole. */
    form: z.literal('archive').optional(),
    suite: suiteName,
    /** All packages: dependencies are not resolved. */
    packages: z.array(packageName).min(1).max(packagesMax).readonly(),
    /** Globs of paths to remove: `*` within a name, `**` across. */
    leaveOut: z.array(pattern).max(linesMax).default([]).readonly(),
    /** Globs of paths to keep although `leaveOut` matches them. */
    keep: z.array(pattern).max(linesMax).default([]).readonly(),
    /** Symbolic links that maintainer scripts would create. */
    links: z
      .array(
        z.strictObject({
          folder: place,
          to: z.string().min(1).max(1024),
          names: z
            .array(z.string().regex(/^[^/\0]{1,255}$/))
            .max(linesMax)
            .readonly(),
        }),
      )
      .max(linesMax)
      .default([])
      .readonly(),
    /** Files concatenated from others, sorted by path. */
    join: z
      .array(z.strictObject({ from: pattern, to: place }))
      .max(50)
      .default([])
      .readonly(),
    /** Small text files. */
    files: z.record(place, z.string().max(65_536)).default({}),
    /** Empty folders, such as mount points. */
    folders: z.array(place).max(linesMax).default([]).readonly(),
    /** Globs of Python sources, to be compiled by the interpreter of the image. */
    compile: z.array(pattern).max(50).default([]).readonly(),
    /** Modules that a spare Python of this image imports before it gets its job. */
    imports: z.array(moduleName).max(50).default([]).readonly(),
    /** Files of installed npm packages. */
    programs: z
      .array(
        z.strictObject({ package: z.string().regex(/^[a-z0-9-]{1,64}$/), file: place, to: place }),
      )
      .max(8)
      .default([])
      .readonly(),
  })
  .readonly()

const packageVersion = z.string().regex(/^[\w.+:~-]{1,128}$/)
const lockedFile = {
  version: packageVersion,
  file: z.string().max(512).refine(isPlace, 'no path of a package'),
  size: z
    .number()
    .int()
    .min(1)
    .max(2 ** 30),
  sha256: sha256Text,
}

const lockSchema = z
  .strictObject({
    format: z.literal(1),
    recipe: imageName,
    suite: suiteName,
    architecture: architectureName,
    packages: z
      .array(
        z
          .strictObject({
            name: packageName,
            /** Source package, to which vulnerabilities refer. */
            source: z.strictObject({ name: packageName, version: packageVersion }),
            ...lockedFile,
          })
          .readonly(),
      )
      .readonly(),
    programs: z
      .array(z.strictObject({ package: z.string(), ...lockedFile }).readonly())
      .default([])
      .readonly(),
  })
  .readonly()

export type Recipe = z.infer<typeof recipeSchema>
export type ImageLock = z.infer<typeof lockSchema>
export type LockedPackage = ImageLock['packages'][number]
export type LockedProgram = ImageLock['programs'][number]
export type Architecture = z.infer<typeof architectureName>

/** Names of the recipes of a folder, sorted. */
export function recipeNames(folder: string): readonly string[] {
  const names = readdirSync(folder).flatMap((name) => /^(.+)\.recipe\.json$/.exec(name)?.[1] ?? [])
  return names.filter((name) => imageName.safeParse(name).success).sort()
}

/** Throws MayflyError NOT_FOUND, and INVALID for an unreadable recipe. */
export function readRecipe(folder: string, name: string): Recipe {
  const recipe = recipeSchema.safeParse(readJson(folder, name, 'recipe'))
  if (!recipe.success) throw invalid(name, 'recipe', z.prettifyError(recipe.error))
  if (recipe.data.name !== name) throw invalid(name, 'recipe', 'its name is another')
  return recipe.data
}

/** Lock of a recipe for this architecture. Throws MayflyError NOT_FOUND, INVALID and UNAVAILABLE. */
export function readLock(folder: string, recipe: Recipe, architecture: Architecture): ImageLock {
  const read = lockSchema.safeParse(readJson(folder, recipe.name, 'lock'))
  if (!read.success) throw invalid(recipe.name, 'lock', z.prettifyError(read.error))
  const lock = read.data
  const why = disagreement(recipe, lock)
  if (why) throw invalid(recipe.name, 'lock', why)
  if (lock.architecture !== architecture)
    throw new MayflyError(
      'UNAVAILABLE',
      `Cannot build image "${recipe.name}" for ${architecture}`,
      {
        hint: `Its lock is for ${lock.architecture}`,
      },
    )
  return lock
}

function disagreement(recipe: Recipe, lock: ImageLock): string | undefined {
  if (lock.recipe !== recipe.name) return 'it is of another recipe'
  if (lock.suite !== recipe.suite) return 'it is of another suite'
  const locked = lock.packages.map(({ name }) => name).join(' ')
  if (locked !== [...new Set(recipe.packages)].sort().join(' '))
    return 'its packages are not those of the recipe, sorted'
  const programs = lock.programs.map((one) => `${one.package}/${one.file}`).join(' ')
  return programs === recipe.programs.map((one) => `${one.package}/${one.file}`).join(' ')
    ? undefined
    : 'its programs are not those of the recipe'
}

function readJson(folder: string, name: string, kind: 'recipe' | 'lock'): unknown {
  const file = path.join(folder, `${name}.${kind}.json`)
  if (!imageName.safeParse(name).success || !statSync(file, { throwIfNoEntry: false })?.isFile())
    throw new MayflyError('NOT_FOUND', `Cannot find the ${kind} of image "${name}"`, {
      hint: `Recipes are in "${folder}"`,
    })
  if (statSync(file).size > fileBytesMax) throw invalid(name, kind, 'it is too large')
  try {
    return parseJson(readFileSync(file, 'utf8'))
  } catch (thrown) {
    throw invalid(name, kind, messageOf(thrown))
  }
}

function invalid(name: string, kind: string, why: string): MayflyError {
  return new MayflyError('INVALID', `Cannot read the ${kind} of image "${name}": ${why}`)
}

function isPlace(text: string): boolean {
  return attempt(() => checkedPath(text) === text) ?? false
}
