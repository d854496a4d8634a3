//! The API itself: discovery, representations, verbs on stored objects, reviews.
