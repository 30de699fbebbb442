import { open } from 'node:fs/promises'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { lifeOf } from '../web/page/picture/life.js'
import { pictureOf } from '../web/page/picture/picture.js'
import { svgOf } from '../web/page/picture/svg.js'

/** A file that the picture of a life goes into. */
export interface PictureFile extends AsyncDisposable {
  save(outcome: Outcome): Promise<void>
}

/** Opens it before anything runs. Throws MayflyError USAGE where it cannot be written. */
export async function openPicture(file: string): Promise<PictureFile> {
  const handle = await open(file, 'w').catch((cause: unknown) => {
    throw new MayflyError('USAGE', `Cannot write the picture "${file}": ${messageOf(cause)}`, {
      hint: 'Name a file in a folder that is there and open to the user who runs jobs, who is not root',
      cause,
    })
  })
  return {
    save: (outcome) => handle.writeFile(svgOf(pictureOf(lifeOf(outcome)))),
    [Symbol.asyncDispose]: () => handle.close(),
  }
}
