import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closedAddress, closedName } from './address.ts'
import { readHost } from '../egress/host.ts'

const closed: readonly (readonly [address: string, why: RegExp])[] = [
  ['0.0.0.0', /this host/],
  ['0.1.2.3', /this host/],
  ['10.0.0.1', /private/],
  ['10.255.255.255', /private/],
  ['100.64.0.1', /carrier/],
  ['100.100.100.200', /carrier/],
  ['127.0.0.1', /loopback/],
  ['127.255.255.254', /loopback/],
  ['169.254.169.254', /metadata/],
  ['169.254.170.2', /metadata/],
  ['168.63.129.16', /metadata/],
  ['172.16.0.1', /private/],
  ['172.31.255.255', /private/],
  ['192.0.0.192', /protocols/],
  ['192.0.2.1', /documentation/],
  ['192.88.99.1', /6to4/],
  ['192.168.1.1', /private/],
  ['198.18.0.1', /benchmarks/],
  ['198.51.100.7', /documentation/],
  ['203.0.113.7', /documentation/],
  ['224.0.0.1', /multicast/],
  ['240.0.0.1', /reserved/],
  ['255.255.255.255', /reserved/],
  ['::', /IPv6 form/],
  ['::1', /IPv6 form/],
  ['::127.0.0.1', /IPv6 form/],
  ['::ffff:127.0.0.1', /IPv6 form/],
  ['::ffff:8.8.8.8', /IPv6 form/],
  ['::ffff:7f00:1', /IPv6 form/],
  ['0:0:0:0:0:ffff:a9fe:a9fe', /IPv6 form/],
  ['::ffff:0:127.0.0.1', /IPv6 form/],
  ['64:ff9b::127.0.0.1', /loopback/],
  ['64:ff9b::a9fe:a9fe', /metadata/],
  ['64:ff9b:1::1', /translator/],
  ['100::1', /discarding/],
  ['2001::1', /Teredo/],
  ['2001:0:4136:e378:8000:63bf:3fff:fdd2', /Teredo/],
  ['2001:20::1', /protocols/],
  ['2001:db8::1', /documentation/],
  ['2002:7f00:1::', /6to4/],
  ['3fff::1', /documentation/],
  ['4000::1', /reserved/],
  ['fc00::1', /private/],
  ['fd00:ec2::254', /private/],
  ['fe80::1', /link-local/],
  ['fe80::1%eth0', /no plain address/],
  ['2606:4700::1111%1', /no plain address/],
  ['fec0::1', /private/],
  ['ff02::1', /multicast/],
  ['', /no plain address/],
  ['1.2.3', /no plain address/],
  ['example.com', /no plain address/],
]
for (const [address, why] of closed)
  test(`The address "${address}" is not dialled`, () =>
    assert.match(closedAddress(address) ?? '', why))

const open = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.1',
  '100.63.255.255',
  '100.128.0.1',
  '172.15.255.255',
  '172.32.0.1',
  '192.0.1.1',
  '192.169.0.1',
  '198.20.0.1',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '2001:4860:4860::8888',
  '64:ff9b::8.8.8.8',
]
for (const address of open)
  test(`The public address ${address} may be dialled`, () =>
    assert.equal(closedAddress(address), undefined))

test('Names of this machine and of metadata are closed for every address they resolve to', () => {
  for (const name of ['localhost', 'a.localhost', 'localhost.localdomain', 'metadata'])
    assert.notEqual(closedName(name), undefined)
  for (const name of ['notlocalhost', 'localhost.example', 'metadata.example'])
    assert.equal(closedName(name), undefined)
})

const spellings: readonly (readonly [written: string, host: string | undefined])[] = [
  ['Example.COM', 'example.com'],
  ['example.com.', 'example.com'],
  ['example.com..', undefined],
  ['.example.com', undefined],
  ['a..b', undefined],
  ['a_b.example', 'a_b.example'],
  ['-a.example', undefined],
  ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
  ['bücher.example', undefined],
  ['1.2.3.4', '1.2.3.4'],
  ['1.2.3.4.', '1.2.3.4'],
  ['127.1', undefined],
  ['0177.0.0.1', undefined],
  ['0x7f.0.0.1', undefined],
  ['0x7f000001', undefined],
  ['2130706433', undefined],
  ['1.2.3.4.5', undefined],
  ['example.0x1', undefined],
  ['[::1]', '[::1]'],
  ['[0:0::0001]', '[::1]'],
  ['[::ffff:1.2.3.4]', '[::ffff:102:304]'],
  ['[fe80::1%eth0]', undefined],
  ['[::1', undefined],
  ['[1.2.3.4]', undefined],
  ['::1', undefined],
  ['a b', undefined],
  ['a\0b', undefined],
  ['a%2eb', undefined],
  ['a@b', undefined],
  ['', undefined],
  ['*', undefined],
  [`${'a'.repeat(64)}.example`, undefined],
]
for (const [written, host] of spellings)
  test(`The host ${JSON.stringify(written)} reads as ${host ?? 'none'}`, () =>
    assert.equal(readHost(written), host))
