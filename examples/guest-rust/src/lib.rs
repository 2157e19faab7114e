//! A bytes guest in Rust: the size of its input and the Adler-32 sum (RFC 1950) of it.

mod vcp {
    #[link(wasm_import_module = "vcp")]
    extern "C" {
        fn input_len(kind: i32) -> i32;
        fn input_read(kind: i32, to: *mut u8, offset: i32, len: i32) -> i32;
        fn output_write(from: *const u8, len: i32);
    }

    pub const PUBLIC: i32 = 0;

    /// The whole input of this kind; 1 is the private one.
    pub fn read(kind: i32) -> Vec<u8> {
        let len = unsafe { input_len(kind) } as usize;
        let mut bytes = vec![0; len];
        let mut at = 0;
        while at < len {
            let rest = &mut bytes[at..];
            let got = unsafe { input_read(kind, rest.as_mut_ptr(), at as i32, rest.len() as i32) };
            assert!(got > 0);
            at += got as usize;
        }
        bytes
    }

    /// Appends to the output.
    pub fn write(bytes: &[u8]) {
        unsafe { output_write(bytes.as_ptr(), bytes.len() as i32) }
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

#[no_mangle]
pub extern "C" fn run() {
    let input = vcp::read(vcp::PUBLIC);
    vcp::write(format!("bytes {}\nadler32 {:08x}\n", input.len(), adler32(&input)).as_bytes());
}
