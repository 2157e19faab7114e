;; Never returns: ends by fuel, or by the wall clock.
(module
  (memory (export "memory") 1)
  (func (export "run") (loop $again (br $again))))
