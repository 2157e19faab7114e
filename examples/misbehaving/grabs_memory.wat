;; Takes memory 1 MiB at a time and writes to every page of it, until a request is refused; then it traps.
(module
  (memory (export "memory") 1)
  (func (export "run")
    (local $at i32) (local $end i32)
    (loop $again
      (local.set $at (i32.shl (memory.size) (i32.const 16)))
      (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
      (local.set $end (i32.shl (memory.size) (i32.const 16)))
      (loop $touch
        (i32.store (local.get $at) (local.get $at))
        (local.set $at (i32.add (local.get $at) (i32.const 4096)))
        (br_if $touch (i32.lt_u (local.get $at) (local.get $end))))
      (br $again))))
