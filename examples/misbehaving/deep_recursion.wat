;; Calls itself without end: ends when the stack does. `depth n` goes down n calls and comes back.
(module
  (memory (export "memory") 1)
  (func $down (param $n i64) (result i64)
    (if (result i64) (i64.eqz (local.get $n))
      (then (i64.const 0))
      (else (i64.add (i64.const 1) (call $down (i64.sub (local.get $n) (i64.const 1)))))))
  (func (export "depth") (param i64) (result i64) (call $down (local.get 0)))
  (func (export "run") (drop (call $down (i64.const -1)))))
