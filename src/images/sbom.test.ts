import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ownRecipes, readLock, readRecipe, recipeNames } from './recipe.ts'
import { contentsOf, purlOf, sbomOf } from './sbom.ts'

const digest = 'a'.repeat(64)

suite('Bills of materials', () => {
  for (const name of recipeNames(ownRecipes))
    test(`The bill of image ${name} names all packages and programs of its lock, each once`, () => {
      const lock = readLock(ownRecipes, readRecipe(ownRecipes, name), 'amd64')
      const sbom = JSON.parse(
        sbomOf({ digest, name, about: '', at: 0, contents: contentsOf(lock) }),
      )
      const purls = sbom.components.map((one: { readonly purl: string }) => one.purl)
      assert.equal(purls.length, lock.packages.length + lock.programs.length)
      assert.equal(new Set(purls).size, purls.length)
      assert.deepEqual(sbom.dependencies[0].dependsOn, purls)
      for (const [at, one] of lock.packages.entries()) {
        const { pedigree, hashes } = sbom.components[at]
        assert.equal(pedigree.ancestors[0].name, one.source.name)
        assert.equal(pedigree.ancestors[0].version, one.source.version)
        assert.equal(hashes[0].content, one.sha256)
      }
      for (const one of lock.programs)
        assert.ok(purls.includes(`pkg:npm/${one.package}@${one.version}`))
    })

  test('A package URL encodes what its specification names', () => {
    const part = {
      kind: 'deb',
      name: 'libstdc++6',
      version: '1:2~rc+b1',
      architecture: 'amd64',
    } as const
    assert.equal(
      purlOf(part, 'trixie'),
      'pkg:deb/debian/libstdc%2B%2B6@1:2~rc%2Bb1?arch=amd64&distro=trixie',
    )
  })

  test('A binary rebuild (binNMU) has the version of its source', () => {
    const lock = readLock(ownRecipes, readRecipe(ownRecipes, 'minimal'), 'amd64')
    const busybox = contentsOf(lock).parts.find(({ name }) => name === 'busybox-static')
    assert.equal(busybox?.source?.name, 'busybox')
    assert.equal(busybox?.source?.version, busybox?.version.replace(/\+b\d+$/, ''))
  })

  test('The bill of materials is deterministic for an image and a time', () => {
    const given = {
      digest,
      name: 'a',
      about: '',
      at: 5,
      contents: { suite: 'trixie', parts: [], isComplete: true },
    }
    assert.equal(sbomOf(given), sbomOf(given))
    const { serialNumber, metadata } = JSON.parse(sbomOf(given))
    assert.match(
      serialNumber,
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    )
    assert.equal(metadata.timestamp, '1970-01-01T00:00:00.005Z')
    assert.notEqual(JSON.parse(sbomOf({ ...given, at: 6 })).serialNumber, serialNumber)
  })
})
