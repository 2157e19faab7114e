;; Writes a mebibyte of output again and again, until the limit stops it.
(module
  (import "vcp" "output_write" (func $write (param i32 i32)))
  (memory (export "memory") 16)
  (func (export "run")
    (loop $again
      (call $write (i32.const 0) (i32.const 1048576))
      (br $again))))
