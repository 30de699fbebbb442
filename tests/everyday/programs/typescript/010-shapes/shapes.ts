interface Drawable { draw(): string }

abstract class Shape implements Drawable {
  static count = 0;
  protected constructor(public readonly name: string) { Shape.count++ }
  abstract area(): number
  abstract perimeter(): number
  draw() { return `<${this.name}>` }
  toString(): string {
    return `${this.name.padEnd(12)} area=${this.area().toFixed(2).padStart(8)} perimeter=${this.perimeter().toFixed(2).padStart(8)}`
  }
}

class Circle extends Shape {
  constructor(private r: number) { super('Circle') }
  area() { return Math.PI * this.r ** 2 }
  perimeter() { return 2 * Math.PI * this.r }
}

class Rect extends Shape {
  constructor(protected w: number, protected h: number, name = 'Rect') { super(name) }
  area() { return this.w * this.h }
  perimeter() { return 2 * (this.w + this.h) }
  override draw() {
    return Array.from({ length: this.h }, () => '#'.repeat(this.w)).join('\n')
  }
}

class Square extends Rect {
  constructor(side: number) { super(side, side, 'Square') }
}

class Triangle extends Shape {
  constructor(private a: number, private b: number, private c: number) {
    super('Triangle')
    if (a + b <= c || a + c <= b || b + c <= a) throw new Error('not a triangle')
  }
  area() {
    const s = this.perimeter() / 2
    return Math.sqrt(s * (s - this.a) * (s - this.b) * (s - this.c))
  }
  perimeter() { return this.a + this.b + this.c }
}

const shapes: Shape[] = [new Circle(2), new Rect(4, 2), new Square(3), new Triangle(3, 4, 5)]
shapes.sort((x, y) => y.area() - x.area())
for (const s of shapes) console.log(`${s}`)
console.log(new Rect(5, 2).draw())
console.log(shapes[0].draw())
console.log('shapes created:', Shape.count)
try { new Triangle(1, 1, 9) } catch (e: any) { console.log('error:', e.message) }
