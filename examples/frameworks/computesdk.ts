// ComputeSDK: `npm install computesdk mayfly`. Of its own example only the line with `computeProvider` is another.
import { compute } from 'computesdk'
import { Mayfly } from 'mayfly'
import { computeProvider } from 'mayfly/computesdk'

await using mayfly = await Mayfly.open()
compute.setConfig({ provider: computeProvider(mayfly) })

const sandbox = await compute.sandbox.create()

const result = await sandbox.runCommand('python3 -c "print(\'Hello World!\')"')
console.log(result.stdout)

await sandbox.filesystem.writeFile('hello.txt', 'from a file')
console.log(await sandbox.filesystem.readFile('hello.txt'))

await sandbox.destroy()
