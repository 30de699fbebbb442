export interface Sample {
  label: string;
  values: number[];
}
export class SampleSet implements Iterable<Sample> {
  constructor(private readonly samples: Sample[] = []) {}
  add(label: string, ...values: number[]): this {
    this.samples.push({ label, values });
    return this;
  }
  [Symbol.iterator]() {
    return this.samples[Symbol.iterator]();
  }
}
