class Matrix {
  constructor(rows) {
    this.rows = rows;
    this.m = rows.length;
    this.n = rows[0].length;
  }

  static identity(n) {
    return new Matrix(Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (i === j ? 1 : 0))));
  }

  times(other) {
    if (this.n !== other.m) throw new TypeError(`cannot multiply ${this.m}x${this.n} by ${other.m}x${other.n}`);
    return new Matrix(this.rows.map((row) => other.columns().map((col) => row.reduce((s, v, k) => s + v * col[k], 0))));
  }

  columns() {
    return this.rows[0].map((_, j) => this.rows.map((r) => r[j]));
  }

  transpose() {
    return new Matrix(this.columns());
  }

  determinant() {
    const a = this.rows.map((r) => [...r]);
    let det = 1;
    for (let i = 0; i < this.n; i++) {
      let pivot = i;
      for (let r = i + 1; r < this.n; r++) if (Math.abs(a[r][i]) > Math.abs(a[pivot][i])) pivot = r;
      if (a[pivot][i] === 0) return 0;
      if (pivot !== i) {
        [a[i], a[pivot]] = [a[pivot], a[i]];
        det = -det;
      }
      det *= a[i][i];
      for (let r = i + 1; r < this.n; r++) {
        const f = a[r][i] / a[i][i];
        for (let c = i; c < this.n; c++) a[r][c] -= f * a[i][c];
      }
    }
    return det;
  }

  pow(k) {
    let result = Matrix.identity(this.n), base = this;
    for (; k > 0; k >>= 1) {
      if (k & 1) result = result.times(base);
      base = base.times(base);
    }
    return result;
  }

  toString() {
    const w = Math.max(...this.rows.flat().map((v) => String(v).length));
    return this.rows.map((r) => '[ ' + r.map((v) => String(v).padStart(w)).join('  ') + ' ]').join('\n');
  }
}

const a = new Matrix([[2, -1, 0], [1, 3, 4]]);
const b = new Matrix([[1, 2], [0, 5], [-3, 1]]);
console.log(`A x B =\n${a.times(b)}`);
console.log(`A^T =\n${a.transpose()}`);
console.log('det =', new Matrix([[2, 0, 1], [1, 3, 2], [1, 1, 4]]).determinant().toFixed(4));
console.log('singular det =', new Matrix([[1, 2], [2, 4]]).determinant());
console.log(`Fibonacci(40) = ${new Matrix([[1, 1], [1, 0]]).pow(40).rows[0][1]}`);
try {
  a.times(a);
} catch ({ name, message }) {
  console.log(`${name}: ${message}`);
}
