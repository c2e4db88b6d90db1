//! Who is whose parent while links are made and broken, with links refused that would close a loop.
//! Asking by going up from parent to parent would cost the square of a long chain, so each path is also kept as
//! balanced trees (a link-cut tree: Sleator and Tarjan, 1983). Each call costs the logarithm of the number of nodes
//! when spread over many, whatever the shape, and nothing recurses.

const NONE: u32 = u32::MAX;

/// Nodes with at most one parent each, and no loops.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
}

/// A node, and its place in the binary tree of some path down the forest: `left` is above it on that path, `right`
/// is below. `up` is its parent in that tree, or, for the tree's topmost, the node that the path hangs on.
#[derive(Debug, Clone, Copy)]
struct Node {
    parent: u32,
    up: u32,
    left: u32,
    right: u32,
    /// It was once a parent.
    has_children: bool,
}

impl Forest {
    /// A new node without a parent; they are numbered from 0.
    pub fn add(&mut self) -> u32 {
        let number = self.nodes.len() as u32;
        self.nodes.push(Node { parent: NONE, up: NONE, left: NONE, right: NONE, has_children: false });
        number
    }

    pub fn parent(&self, node: u32) -> Option<u32> {
        let parent = self.nodes[node as usize].parent;
        (parent != NONE).then_some(parent)
    }

    /// Puts `child`, which must have no parent, below `parent`. False, and nothing is done, when `parent` is the
    /// child itself or below it.
    pub fn adopt(&mut self, child: u32, parent: u32) -> bool {
        debug_assert_eq!(self.nodes[child as usize].parent, NONE, "it has a parent");
        if child == parent {
            return false;
        }
        // Nothing is below a node that never was a parent; most messages of most mailboxes come that way.
        if self.nodes[child as usize].has_children {
            // A node without a parent is the root of all it belongs to.
            if self.root(parent) == child {
                return false;
            }
            self.expose(child);
        }
        self.nodes[child as usize].up = parent;
        self.nodes[child as usize].parent = parent;
        self.nodes[parent as usize].has_children = true;
        true
    }

    /// Takes a node, and all below it, from its parent.
    pub fn orphan(&mut self, node: u32) {
        if self.nodes[node as usize].parent == NONE {
            return;
        }
        self.expose(node);
        let above = std::mem::replace(&mut self.nodes[node as usize].left, NONE);
        self.nodes[above as usize].up = NONE;
        self.nodes[node as usize].parent = NONE;
    }

    /// The parent of each node; the rest is given back.
    pub fn into_parents(self) -> Vec<Option<u32>> {
        self.nodes.into_iter().map(|node| (node.parent != NONE).then_some(node.parent)).collect()
    }

    /// The topmost node above this one, or itself.
    fn root(&mut self, node: u32) -> u32 {
        self.expose(node);
        let mut top = node;
        while self.nodes[top as usize].left != NONE {
            top = self.nodes[top as usize].left;
        }
        // What was long to reach is made short, which is what keeps the sum of many calls small.
        self.splay(top);
        top
    }

    /// Makes the path from the root to this node one binary tree, with the node on top of it and nothing right.
    fn expose(&mut self, node: u32) {
        let mut below = NONE;
        let mut at = node;
        while at != NONE {
            self.splay(at);
            self.nodes[at as usize].right = below;
            below = at;
            at = self.nodes[at as usize].up;
        }
        self.splay(node);
    }

    /// The parent in the same binary tree.
    fn above_in_tree(&self, node: u32) -> Option<u32> {
        let up = self.nodes[node as usize].up;
        let is_child = up != NONE && {
            let Node { left, right, .. } = self.nodes[up as usize];
            left == node || right == node
        };
        is_child.then_some(up)
    }

    /// Brings a node to the top of its binary tree.
    fn splay(&mut self, node: u32) {
        while let Some(parent) = self.above_in_tree(node) {
            if let Some(grandparent) = self.above_in_tree(parent) {
                let is_left = |nodes: &[Node], of: u32, child: u32| nodes[of as usize].left == child;
                let is_straight = is_left(&self.nodes, parent, node) == is_left(&self.nodes, grandparent, parent);
                self.rotate(if is_straight { parent } else { node });
            }
            self.rotate(node);
        }
    }

    /// Changes places with the parent in the binary tree.
    fn rotate(&mut self, node: u32) {
        let parent = self.nodes[node as usize].up;
        let grandparent = self.nodes[parent as usize].up;
        let moved = if self.nodes[parent as usize].left == node {
            let moved = std::mem::replace(&mut self.nodes[node as usize].right, parent);
            self.nodes[parent as usize].left = moved;
            moved
        } else {
            let moved = std::mem::replace(&mut self.nodes[node as usize].left, parent);
            self.nodes[parent as usize].right = moved;
            moved
        };
        if moved != NONE {
            self.nodes[moved as usize].up = parent;
        }
        if grandparent != NONE {
            let above = &mut self.nodes[grandparent as usize];
            if above.left == parent {
                above.left = node;
            } else if above.right == parent {
                above.right = node;
            }
        }
        self.nodes[node as usize].up = grandparent;
        self.nodes[parent as usize].up = node;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::processor_time;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Debug, Clone, Copy)]
    enum Order {
        Adopt(usize, usize),
        Orphan(usize),
    }

    fn some_orders(nodes: usize) -> impl Strategy<Value = Vec<Order>> {
        let adopt = (0..nodes, 0..nodes).prop_map(|(child, parent)| Order::Adopt(child, parent));
        let order = prop_oneof![3 => adopt, 1 => (0..nodes).prop_map(Order::Orphan)];
        proptest::collection::vec(order, 0..120)
    }

    proptest! {
        #[test]
        fn it_refuses_just_what_would_close_a_loop(orders in some_orders(12)) {
            let mut forest = Forest::default();
            let mut parents = [None; 12];
            parents.iter().for_each(|_| _ = forest.add());
            for order in orders {
                match order {
                    Order::Adopt(child, _) if parents[child].is_some() => {}
                    Order::Adopt(child, parent) => {
                        let is_below = std::iter::successors(Some(parent), |at| parents[*at]).any(|at| at == child);
                        prop_assert_eq!(forest.adopt(child as u32, parent as u32), !is_below);
                        if !is_below {
                            parents[child] = Some(parent);
                        }
                    }
                    Order::Orphan(node) => {
                        forest.orphan(node as u32);
                        parents[node] = None;
                    }
                }
                for (node, parent) in parents.iter().enumerate() {
                    prop_assert_eq!(forest.parent(node as u32), parent.map(|parent| parent as u32));
                }
            }
        }
    }

    /// A chain of so many, each below the one before it.
    fn chain(length: u32) -> Forest {
        let mut forest = Forest::default();
        (0..length).for_each(|_| _ = forest.add());
        (1..length).for_each(|node| assert!(forest.adopt(node, node - 1)));
        forest
    }

    #[test]
    fn long_chains_are_cheap_to_ask_to_cut_and_to_join() {
        const LENGTH: u32 = 50_000;
        let begun = processor_time();
        let mut forest = chain(LENGTH);
        for node in 0..LENGTH {
            // Its root must not go below any of its own.
            assert!(!forest.adopt(0, (node * 7919) % LENGTH));
        }
        // Cut in the middle again and again, and put back somewhere above.
        for node in 1..LENGTH {
            let node = LENGTH / 2 + node % (LENGTH / 2);
            forest.orphan(node);
            assert!(!forest.adopt(node, LENGTH - 1) || node == LENGTH - 1);
            assert!(forest.parent(node).is_some() || forest.adopt(node, node - 1));
        }
        // Pairs that hang themselves on the chain's end.
        for _ in 0..LENGTH {
            let (root, leaf) = (forest.add(), forest.add());
            assert!(forest.adopt(leaf, root) && forest.adopt(root, LENGTH - 1));
            assert!(forest.parent(root) == Some(LENGTH - 1));
        }
        let spent = processor_time() - begun;
        assert!(spent < Duration::from_secs(1), "{spent:?}");
    }
}
