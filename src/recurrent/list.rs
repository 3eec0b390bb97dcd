//! The cells of this crate: a new cell needs a file of its own and a line here.

/// Calls the macro `$then` with the list: file, type, and the cells that random networks contain. The type of a cell
/// with an activation is generic over the activation.
macro_rules! cells {
    ($then:ident) => {
        $then! {
            with_activation {
                elman: Elman;
            }
            plain {
                gru: Gru [Gru::new(), Gru::new().variant(crate::recurrent::GruVariant::ResetBefore)];
                lstm: Lstm [Lstm::new()];
            }
        }
    };
}
pub(crate) use cells;
