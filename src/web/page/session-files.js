// Files of a session, for download.
import { element, save, shownName, sizeText } from './display.js'

const SHOWN_MAX = 200

/** List items of its files; `failed(refused)` is called if a download fails. Throws Refused. */
export async function fileItems(session, failed) {
  const found = await session.files()
  return found.slice(0, SHOWN_MAX).map(({ path, size }) => {
    const item = element('li')
    const about = { type: 'button', 'aria-label': `Download ${shownName(path)}` }
    const link = element('button', 'link', shownName(path), about)
    link.addEventListener('click', () => {
      session.bytes(path).then((bytes) => save(path, bytes), failed)
    })
    item.append(link, element('span', 'hint', sizeText(size)))
    return item
  })
}
