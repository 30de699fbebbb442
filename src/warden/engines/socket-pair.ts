import { Socket } from 'node:net'
import { MayflyError } from '../../contract/error.ts'
import { socketPair } from '../../os/libc.js'
import { isOutOfDescriptors } from '../../os/read.ts'

/**
 * Two ends of a unix socket, one of which can be passed to the server. By socketpair(2): a listener, a connection and its acceptance
 * need a descriptor each, and where one is missing Node reports it to nobody, or as an 'error' later.
 *
 * Both ends have a listener for 'error'. Throws MayflyError OVERLOADED if no descriptors are left.
 */
export function nodeSocketPair(): { readonly own: Socket; readonly theirs: Socket } {
  const [own, theirs] = pair().map((fd) => new Socket({ fd }).on('error', () => undefined))
  return { own: own!, theirs: theirs! }
}

function pair(): [number, number] {
  try {
    return socketPair()
  } catch (error) {
    if (!isOutOfDescriptors(error)) throw error
    throw new MayflyError('OVERLOADED', 'Cannot open a socket: no file descriptors are left', {
      cause: error,
      hint: 'Allow Mayfly more open files ("ulimit -n"), or run fewer jobs at once',
    })
  }
}
