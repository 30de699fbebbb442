/** Files of CPython's own tests that end within a minute each, and ask for nothing beyond the loopback. */
export const pythonModules: readonly string[] = `
  test_asyncgen test_atexit test_bz2 test_cmd_line test_configparser test_contextlib test_csv test_ctypes test_dataclasses
  test_dbm test_decimal test_enum test_epoll test_faulthandler test_fcntl test_fileio test_fork1 test_fractions test_ftplib
  test_functools test_gc test_glob test_grp test_gzip test_hashlib test_hmac test_httplib test_httpservers test_imaplib
  test_inspect test_io test_itertools test_json test_locale test_logging test_math test_mimetypes
  test_mmap test_openpty test_os test_pathlib test_pickle test_platform test_poll test_popen test_poplib test_posix
  test_posixpath test_pty test_pwd test_queue test_random test_re test_resource test_runpy test_sched test_secrets
  test_select test_selectors test_shutil test_signal test_site test_smtplib test_socket
  test_statistics test_struct test_sys test_tarfile test_tempfile test_thread test_threading test_time
  test_urllib test_uuid test_wait3 test_wait4 test_wsgiref test_xmlrpc test_zipfile test_zipimport
  test_zlib test_zoneinfo
`
  .trim()
  .split(/\s+/)

export const pythonSuiteFolder = '/usr/lib/python3.11/test'
