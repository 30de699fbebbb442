#!/usr/bin/env node
// Starts Mayfly on Node 26. Plain JavaScript that older Nodes parse too: they only look for Node 26 here, start
// it, and stay as a thin parent. Everything is imported late, because `mayfly run` pays for each module.
import process from 'node:process'

const nodeMajorMin = 26

if (Number(process.versions.node.split('.')[0]) >= nodeMajorMin) await startHere()
else await startOnNode26()

async function startHere() {
  const [{ enableCompileCache }, { cacheFolder }] = await Promise.all([
    import('node:module'),
    import('./cache-folder.js'),
  ])
  const folder = cacheFolder()
  if (folder) enableCompileCache(folder)
  silenceExperimentalWarnings()
  // Node strips no types inside node_modules, so the npm package brings JavaScript in the same places.
  const isInstalled = new URL(import.meta.url).pathname.includes('/node_modules/')
  const { main } = await import(`../src/cli/main.${isInstalled ? 'js' : 'ts'}`)
  await main(process.argv.slice(2))
}

/** A flag for this would cost a second start of Node. Every other warning is still printed. */
function silenceExperimentalWarnings() {
  const printers = process.listeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    if (warning.name === 'ExperimentalWarning') return
    for (const print of printers) print.call(process, warning)
  })
}

async function startOnNode26() {
  const { findNode, stayAsParent } = await import('./older-node.js')
  const node = findNode()
  if (node) {
    stayAsParent(node, process.argv.slice(1))
    return
  }
  process.stderr.write(
    `mayfly: needs Node ${nodeMajorMin} and runs on ${process.versions.node}: install it from https://nodejs.org, ` +
      `or run "npm ci" with optional dependencies so that it comes along\n`,
  )
  process.exitCode = 2
}
