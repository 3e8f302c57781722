//! Chance that can be had again.

/// Numbers that look like chance and follow from the first.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    pub fn new(number: u64) -> Seed {
        Seed(number)
    }

    /// Another row of numbers that follows from this one's beginning.
    pub fn fork(&self, number: u64) -> Seed {
        let mut fork = Seed(self.0 ^ number.wrapping_mul(0xA24B_AED4_963E_E407));
        fork.next();
        fork
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
