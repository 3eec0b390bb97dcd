//~ is not a strategy of fixes
//~ implements `FixStrategy::propose`
use chainrule::diagnosis::fix::FixStrategy;

fn main() {
    let _: Vec<Box<dyn FixStrategy>> = vec![Box::new("wider")];
}
