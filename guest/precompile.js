/**
 * Loads the modules of jailed programs and runs each once, so that Node writes its compile cache at exit, and stores
 * the code caches of the realm beside it. It handles no untrusted code.
 */
import { Readable } from 'node:stream'
import { inspect } from '../src/threat/inspect.ts'
import { Cell } from './cell.js'
import { storeParts } from './cell/parts.js'
import { takeGc } from './take-gc.js'
import { readFrames } from './frames.js'
import { landlockVersion } from '../src/os/libc.js'
import { warmUp } from './warm.js'
import { warmUpModules } from './wasm/warm.js'

warmUp(inspect, 1)
warmUpModules()
landlockVersion()
takeGc()
readFrames(Readable.from([]), () => {}, 1)
const cell = new Cell({ memoryMiB: 32, webAssembly: false })
cell.dispose()
storeParts(process.env.NODE_COMPILE_CACHE)
