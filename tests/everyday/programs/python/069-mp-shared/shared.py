from multiprocessing import Process, Value, Array, Lock, Manager, Pipe

def deposit(balance, lock, n):
    for _ in range(n):
        with lock:
            balance.value += 1

def square_slots(arr, start, step):
    for i in range(start, len(arr), step):
        arr[i] = i * i

def register(d, name):
    d[name] = len(name)

def ponger(conn):
    while (msg := conn.recv()) != "stop":
        conn.send(msg.replace("ping", "pong"))
    conn.close()

def main():
    balance = Value("i", 0)
    lock = Lock()
    procs = [Process(target=deposit, args=(balance, lock, 500)) for _ in range(4)]
    [p.start() for p in procs]
    [p.join() for p in procs]
    print("balance:", balance.value)

    arr = Array("i", 10)
    procs = [Process(target=square_slots, args=(arr, k, 2)) for k in range(2)]
    for p in procs: p.start()
    for p in procs: p.join()
    print("squares:", arr[:])

    with Manager() as m:
        d = m.dict()
        ps = [Process(target=register, args=(d, n)) for n in ("alpha", "be", "gamma")]
        for p in ps: p.start()
        for p in ps: p.join()
        print("registered:", dict(sorted(d.items())))

    ours, theirs = Pipe()
    p = Process(target=ponger, args=(theirs,))
    p.start()
    for i in range(3):
        ours.send(f"ping {i}")
        print(ours.recv())
    ours.send("stop")
    p.join()
    print("exit code", p.exitcode)

if __name__ == '__main__':
    main()
