// Picture of a run. Drawn by src/picture/, served below /picture/, to which a browser resolves ../../picture/
// as well, because a URL has no parent above its root.
import { titleText, wholeText } from '../../picture/caption.js'
import { pictureOf } from '../../picture/picture.js'
import { svgOf } from '../../picture/svg.js'
import { element } from './display.js'

/** An image, in which no script runs; decoded, so that inserting it causes no flicker. `width` in CSS pixels. */
export async function lifeImage(life, width) {
  const picture = pictureOf(life)
  const made = element('img', 'life', '', {
    src: `data:image/svg+xml,${encodeURIComponent(svgOf(picture, { width }))}`,
    alt: `${titleText(picture)}. ${wholeText(picture)}`,
  })
  await made.decode().catch(() => undefined)
  return made
}
