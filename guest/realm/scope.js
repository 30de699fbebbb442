// Names that boot.js provides to the files of the realm, in addition to the intrinsics. An isolate has no module loader of
// Mayfly's: `guest/cell/parts.js` turns each file into a function whose parameters are the names it imports. A
// program that imports such a file as a module, as Node walls do, has no realm, and all of these undefined.

/** Calls the host with text and numbers; throws if the host refuses. */
export let ask
/** State shared by the files of a realm, filled in by the file that owns each member. */
export let bound
/** Defines a global, not enumerable. */
export let define
/** Entry points of the host, used only by boot.js. */
export let host
/** Adds the names of a job with a network. */
export let network
/** Exports of another file, loaded at its first use. */
export let part
/** Files needed by every cell, as functions, used only by boot.js. */
export let parts
/** True if the realm has WebAssembly. */
export let webAssembly
