import { closeSync, writeFileSync } from 'node:fs'
import { MayflyError } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { openToWrite } from '../lib/owner-files.ts'
import { whyUnreadable } from '../lib/why-unreadable.ts'
import { lifeOf } from '../picture/life.js'
import { pictureOf } from '../picture/picture.js'
import { svgOf } from '../picture/svg.js'

/** Output file for the picture of a life. */
export interface PictureFile extends AsyncDisposable {
  save(outcome: Outcome): Promise<void>
}

/** Opens the file before the job runs; `-`: stdout. Throws MayflyError USAGE if not writable. */
export async function openPicture(file: string): Promise<PictureFile> {
  const output = await openOutputFile(file, 'the picture')
  return {
    save: (outcome) => output.write(svgOf(pictureOf(lifeOf(outcome)))),
    [Symbol.asyncDispose]: () => output[Symbol.asyncDispose](),
  }
}

/** File that a command writes at its end, opened at its start. */
export interface OutputFile extends AsyncDisposable {
  write(text: string): Promise<void>
}

/** Opens a file to write; `-`: stdout. Throws MayflyError USAGE if not writable. */
export async function openOutputFile(file: string, what: string): Promise<OutputFile> {
  if (file === '-') return toStdout
  const fd = opened(file, what)
  return {
    write: async (text) => writeFileSync(fd, text),
    [Symbol.asyncDispose]: async () => closeSync(fd),
  }
}

function opened(file: string, what: string): number {
  try {
    return openToWrite(file)
  } catch (cause) {
    const { because } = whyUnreadable(file, cause)
    throw new MayflyError('USAGE', `Cannot write ${what} "${file}": ${because}`, {
      hint: 'Name "-" and redirect stdout: - > FILE',
      cause,
    })
  }
}

const toStdout: OutputFile = {
  write: async (text) => void process.stdout.write(text),
  async [Symbol.asyncDispose]() {},
}
