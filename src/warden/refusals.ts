import { MayflyError } from '../contract/error.ts'

/** Error of an engine on a system other than Linux, where no engine works. */
export function noJail(platform: string): MayflyError {
  return new MayflyError('NO_JAIL', `Cannot jail a process on ${platform}`, {
    hint: 'Run Mayfly on Linux; on Windows, WSL 2 will do',
  })
}

/** Error of an engine of macOS on another system. */
export function needsMacOs(engine: string): MayflyError {
  const message = `Cannot start a wall by ${engine} on ${process.platform}: it is a part of macOS`
  return new MayflyError('UNAVAILABLE', message, {
    hint: 'Linux has other walls of the tier process',
  })
}

/** Error of an engine that is closing: no further wall starts. */
export function closing(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot start a wall: the warden is closing')
}

/** Error for EMFILE in the warden: a spawn needs several descriptors. */
export function outOfDescriptors(): MayflyError {
  return new MayflyError('OVERLOADED', 'Cannot start a wall: no file descriptors are left', {
    hint: 'Allow Mayfly more open files ("ulimit -n"), or run fewer jobs at once',
  })
}
