import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { plantImage } from '../../../../tests/fixtures/plant-image.ts'
import { rootBoot } from '../../../images/machine.ts'
import { imageFolder } from '../../../images/store.ts'
import { openOwnProgram } from '../../../jail/own-programs.ts'
import { signerFolder } from '../../../lib/state-folder.ts'
import { openImageSigner } from '../../image-signer.ts'
import { BootFiles } from './boot-files.ts'

const lookups = [await openOwnProgram('agent'), await openOwnProgram('carrier')]
const missing = lookups.find((one) => 'missing' in one)
const root = mkdtempSync(join(tmpdir(), 'mayfly-boot-files-'))
after(() => rmSync(root, { recursive: true, force: true }))

suite(
  'Cached boot files',
  { skip: missing && 'missing' in missing ? missing.missing : false },
  () => {
    test('All files of a boot are there after two weeks without one, and those of no boot are removed', async () => {
      const [state, folder] = [join(root, 'state'), join(root, 'machines')]
      const signer = openImageSigner(signerFolder(state))
      const planted = (text: string) =>
        plantImage({ folder: imageFolder(state), signer, parts: [], text })
      const files = new BootFiles({
        state: () => Promise.resolve(state),
        hide: [],
        folder,
        jobPort: '1',
        compose: (parts) => rootBoot(parts, new Map()),
      })
      const bootOf = (image: string) =>
        files.of({ program: 'python', scratchBytes: 2 ** 24, image: planted(image) })
      const first = await bootOf('one')
      const old = new Date(Date.now() - 15 * 86_400_000)
      for (const name of readdirSync(folder)) utimesSync(join(folder, name), old, old)
      const second = await bootOf('two')
      assert.equal(second.initrd, first.initrd)
      assert.deepEqual(
        [second.initrd, second.image, first.image].map((file) => existsSync(file)),
        [true, true, false],
      )
    })
  },
)
