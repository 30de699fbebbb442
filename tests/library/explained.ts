/** Differences that are known, each with its reason: patterns of the names of tests, and of uses of Node's modules. */
const explained: readonly (readonly [pattern: RegExp, why: string])[] = [
  [
    /^test\.test_cmd_line\..*\.test_non_interactive_output_buffering$/,
    'output is passed on at each end of a line',
  ],
  [
    /^test\.test_fcntl\..*\.test_fcntl_64_bit$/,
    '`F_NOTIFY` is refused: a watch on a folder that others share tells what they do',
  ],
  [
    /^test\.test_io\..*\.test_large_file_ops$/,
    'a file is no larger than `limits.disk` (`RLIMIT_FSIZE`)',
  ],
  [
    /^test\.test_mmap\.LargeMmapTests\./,
    'a file is no larger than `limits.disk` (`RLIMIT_FSIZE`): the tests leave themselves out',
  ],
  [
    /^test\.test_os\.ChownFileTests\.test_chown_without_permission$/,
    'other users have no number in a wall: `EINVAL` instead of `EPERM`',
  ],
  [
    /^test\.test_os\.ExtendedAttributeTests\./,
    'extended attributes take memory that no limit counts: `ENOTSUP`, and the tests leave themselves out',
  ],
  [
    /^test\.test_os\.FileTests\.test_splice/,
    '`splice` is `ENOSYS`, so that programs read and write',
  ],
  [
    /^test\.test_os\.MemfdCreateTests\./,
    '`memfd_create` is `ENOSYS`, so that programs fall back to a file',
  ],
  [
    /^test\.test_uuid\.\w+\.test_(ifconfig|ip)_getnode$/,
    'a wall has no network card: there is no hardware address',
  ],
  [/^test\.test_resource\..*\.test_fsize_ismax$/, '`RLIMIT_FSIZE` is `limits.disk`, not infinity'],
  [
    /^test\.(test_runpy\.RunModuleTestCase|test_pickle\.\w+)\.test_(run_|unpickle_module_race)/,
    'removing what is not there below `/usr` is `EROFS` in a wall, `ENOENT` outside: the kernel looks at the mount first',
  ],
  [
    /^test\.test_socket\.\w*UDPLITE\w*\./,
    'sockets are local, TCP or UDP: UDP-Lite is refused, as every protocol that programs hardly use',
  ],
  [
    /^test\.test_socket\.GeneralModuleTests\.(testInterfaceNameIndex|test_get\w+_ipv6_scopeid_symbolic)$/,
    'names of interfaces come by netlink, which no limit on memory counts',
  ],
  [/^node: os: priority$/, 'a wall gives way to the machine: its niceness is 5'],
]

export const reasonFor = (name: string) => explained.find(([pattern]) => pattern.test(name))?.[1]
