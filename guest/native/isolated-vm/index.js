// In place of the package inside a wall of whole programs: its binding alone, without a search for it.
module.exports = require('../../native/isolated-vm.node').ivm
