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
  if (file === '-') return toStdout
  const handle = await open(file, 'w').catch((cause: unknown) => {
    throw new MayflyError('USAGE', `Cannot write the picture "${file}": ${messageOf(cause)}`, {
      hint: 'If started by root, redirect stdout: --picture - > FILE',
      cause,
    })
  })
  return {
    save: (outcome) => handle.writeFile(drawn(outcome)),
    [Symbol.asyncDispose]: () => handle.close(),
  }
}

const toStdout: PictureFile = {
  save: async (outcome) => void process.stdout.write(drawn(outcome)),
  async [Symbol.asyncDispose]() {},
}

function drawn(outcome: Outcome): string {
  return svgOf(pictureOf(lifeOf(outcome)))
}
