import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { cacheBriefly } from '../lib/cache-briefly.ts'
import { systemCheckMs } from './facts.ts'

/** Generated files of `/etc` in a wall, equal for all walls. */
export function etcFiles(uid: number): Readonly<Record<string, string>> {
  const own = uid === 0 ? '' : `mayfly:x:${uid}:${uid}:mayfly:/work:/bin/sh\n`
  const ownGroup = uid === 0 ? '' : `mayfly:x:${uid}:\n`
  return {
    '/etc/passwd': `root:x:0:0:root:/work:/bin/sh\n${own}nobody:x:65534:65534:nobody:/:/bin/false\n`,
    '/etc/group': `root:x:0:\n${ownGroup}nogroup:x:65534:\n`,
    '/etc/hosts': '127.0.0.1 localhost mayfly\n::1 localhost\n',
    // No name server answers in a wall. With "dns" a look-up fails as temporary (EAI_AGAIN), and programs such as npm retry it.
    '/etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
    '/etc/resolv.conf': '',
    '/etc/host.conf': 'multi on\n',
    '/etc/services': SERVICES,
    '/etc/protocols': PROTOCOLS,
  }
}

/** Files of the host that programs read and that reveal nothing about its users. */
const SYSTEM_FILES = [
  '/etc/ssl/openssl.cnf',
  // matplotlib fails to load without its file, and fontconfig prints errors without a configuration.
  '/etc/matplotlibrc',
  '/etc/fonts',
  '/etc/mime.types',
]
/** Files whose symlinks may have any target: CA certificates are where the administrator puts them. */
const SYSTEM_FILES_ANYWHERE = ['/etc/alternatives', '/etc/ssl/certs', '/etc/ld.so.cache']
/** Files of the host that a wall shows, besides those of rarely installed packages. */
export const shownOfSystem: readonly string[] = [...SYSTEM_FILES, ...SYSTEM_FILES_ANYWHERE]
/** Configuration of Debian's JDK: without it neither cryptography nor the compiler work. */
const CONFIGURATION_OF_JAVA = /^java-\d+-openjdk$/
/** Folders in which a symlink of the other files may end. */
const SYSTEM_ROOTS = ['/etc', '/usr', '/nix/store', '/gnu/store', '/var/lib/ca-certificates']
const READABLE_BY_ALL = 0o004

/** Existing files that all users can read, without symlinks to a path outside of the system's folders. */
export const systemFiles = cacheBriefly(systemCheckMs, () => {
  const ofJava = namesIn('/etc').filter((name) => CONFIGURATION_OF_JAVA.test(name))
  const others = [...SYSTEM_FILES, ...ofJava.map((name) => `/etc/${name}`)]
  return [
    ...SYSTEM_FILES_ANYWHERE.filter((place) => existsSync(place)),
    ...others.filter((place) => isOfSystem(place)),
  ]
})

function namesIn(folder: string): readonly string[] {
  return existsSync(folder) ? readdirSync(folder) : []
}

export function isOfSystem(place: string, roots: readonly string[] = SYSTEM_ROOTS): boolean {
  try {
    const real = realpathSync(place)
    const isReadable = (statSync(real).mode & READABLE_BY_ALL) !== 0
    return isReadable && roots.some((root) => real.startsWith(`${root}/`))
  } catch {
    return false
  }
}

/** Equal for all walls: the host's own table may reveal its services and networks. */
const SERVICES = `tcpmux 1/tcp
echo 7/tcp
echo 7/udp
discard 9/tcp sink null
discard 9/udp sink null
daytime 13/tcp
daytime 13/udp
chargen 19/tcp ttytst source
ftp-data 20/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
time 37/tcp timserver
time 37/udp timserver
whois 43/tcp nicname
domain 53/tcp
domain 53/udp
tftp 69/udp
gopher 70/tcp
finger 79/tcp
http 80/tcp www
kerberos 88/tcp kerberos5 krb5
kerberos 88/udp kerberos5 krb5
pop3 110/tcp pop-3
sunrpc 111/tcp portmapper
sunrpc 111/udp portmapper
nntp 119/tcp readnews untp
ntp 123/udp
imap2 143/tcp imap
snmp 161/tcp
snmp 161/udp
irc 194/tcp
ldap 389/tcp
https 443/tcp
https 443/udp
submissions 465/tcp ssmtp smtps urd
syslog 514/udp
submission 587/tcp
ldaps 636/tcp
domain-s 853/tcp
ftps 990/tcp
imaps 993/tcp
pop3s 995/tcp
socks 1080/tcp
mysql 3306/tcp
postgresql 5432/tcp
amqp 5672/tcp
http-alt 8080/tcp webcache
`
const PROTOCOLS = `ip 0 IP
icmp 1 ICMP
igmp 2 IGMP
tcp 6 TCP
udp 17 UDP
ipv6 41 IPv6
gre 47 GRE
esp 50 ESP
ah 51 AH
ipv6-icmp 58 IPv6-ICMP
sctp 132 SCTP
udplite 136 UDPLite
`
