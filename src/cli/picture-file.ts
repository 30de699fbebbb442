import { open } from 'node:fs/promises'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
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
  const handle = await open(file, 'w').catch((cause: unknown) => {
    throw new MayflyError('USAGE', `Cannot write ${what} "${file}": ${messageOf(cause)}`, {
      hint: 'If started by root, name "-" and redirect stdout: - > FILE',
      cause,
    })
  })
  return {
    write: (text) => handle.writeFile(text),
    [Symbol.asyncDispose]: () => handle.close(),
  }
}

const toStdout: OutputFile = {
  write: async (text) => void process.stdout.write(text),
  async [Symbol.asyncDispose]() {},
}
