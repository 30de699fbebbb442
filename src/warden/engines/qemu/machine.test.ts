import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { machineArguments, type MachineSpec } from './machine.ts'

const template: MachineSpec = {
  accelerator: 'tcg',
  memoryMiB: 256,
  memory: 'shared',
  hasImage: true,
  kernel: { words: ['quiet', 'panic=-1'] },
}
const clone: MachineSpec = {
  accelerator: 'tcg',
  memoryMiB: 256,
  memory: 'private',
  hasImage: true,
  isIncoming: true,
}

suite('The arguments of a machine', () => {
  test('A template and its clone have the same devices', () => {
    assert.deepEqual(valuesOf(template, '-device'), valuesOf(clone, '-device'))
    assert.deepEqual(valuesOf(template, '-machine'), valuesOf(clone, '-machine'))
  })

  test('Devices are the generation id, two console ports, a balloon and a disk', () => {
    const names = valuesOf(template, '-device').map((device) => device.split(',')[0])
    assert.deepEqual(names, [
      'vmgenid',
      'virtio-serial-pci',
      'virtserialport',
      'virtserialport',
      'virtio-balloon-pci',
      'virtio-blk-pci',
    ])
    const words = machineArguments(template)
    assert.ok(words.includes('-nodefaults') && words.includes('-no-user-config'))
    assert.ok(!words.some((word) => /^-(net|nic|netdev|usb|vga|serial|monitor|drive)$/.test(word)))
  })

  test('QEMU may start no process, and its disk is read-only twice', () => {
    assert.match(valuesOf(template, '-sandbox')[0]!, /^on,.*spawn=deny/)
    const drives = valuesOf(template, '-blockdev')
    assert.ok(drives.length === 2 && drives.every((drive) => drive.includes('read-only=on')))
  })

  test('Memory of a template is a shared file of its own, that of a clone a private map of it', () => {
    assert.match(valuesOf(template, '-object')[0]!, /share=on,mem-path=\/own\/memory$/)
    assert.match(
      valuesOf(clone, '-object')[0]!,
      /share=off,readonly=on,rom=off,mem-path=\/template\/memory$/,
    )
    assert.deepEqual(valuesOf(clone, '-incoming'), ['defer'])
    assert.deepEqual(valuesOf(clone, '-kernel'), [])
  })

  test('A machine starts stopped, and its kernel gets its words', () => {
    assert.ok(machineArguments(template).includes('-S'))
    assert.deepEqual(valuesOf(template, '-append'), ['quiet panic=-1'])
  })

  test('KVM is used by a descriptor, not by a path', () => {
    const kvm = { ...template, accelerator: 'kvm' } as const
    assert.deepEqual(valuesOf(kvm, '-add-fd'), ['fd=6,set=1'])
    assert.deepEqual(valuesOf(kvm, '-accel'), ['kvm,device=/dev/fdset/1'])
  })

  const bad: readonly (readonly [title: string, spec: Partial<MachineSpec>])[] = [
    ['Half a mebibyte', { memoryMiB: 64.5 }],
    ['Less than 64 MiB', { memoryMiB: 63 }],
    ['More than 64 GiB', { memoryMiB: 65_537 }],
    ['No number', { memoryMiB: NaN }],
    ['A kernel argument of two words', { kernel: { words: ['a b'] } }],
    ['A kernel argument with a line break', { kernel: { words: ['a\nb'] } }],
    ['An empty kernel argument', { kernel: { words: [''] } }],
    ['A kernel command line of 2,001 bytes', { kernel: { words: ['x'.repeat(2001)] } }],
  ]
  for (const [title, spec] of bad)
    test(`${title} is refused`, () => {
      assert.throws(() => machineArguments({ ...template, ...spec }), { code: 'INVALID' })
    })
})

/** Values of an option. */
function valuesOf(spec: MachineSpec, option: string): readonly string[] {
  const words = machineArguments(spec)
  return words.flatMap((word, at) => (word === option ? [words[at + 1]!] : []))
}
